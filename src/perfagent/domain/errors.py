"""What can go wrong, as one tree.

    AgentError
    ├── InvalidInput        the caller asked for something that cannot be meant
    ├── NotFound            no such service, instance or rollout
    │   └── NotScraped      it is known, but nothing recent is known about it
    ├── Conflict            it collides with what is already there or under way
    │   ├── IllegalTransition   an event that does not apply to a rollout in its phase
    │   └── LeaseLost       another agent acts by now
    └── Unavailable         something outside did not do its part
        ├── Unreachable     no connection
        ├── TimedOut        connected, but too slow
        ├── BadAnswer       answered, but not with what was asked for (wrong status, redirect, not metrics)
        │   ├── TooLarge    more bytes or series than we are willing to read
        │   └── WrongEngine metrics of another engine, or of none that we know
        ├── ActuatorFailed  a change could not be made
        └── StoreFailed     the agent's own records cannot be opened, read or written

An edge catches its library's error once and raises one of these `from` it.
"""


class AgentError(Exception):
    """The root; its text is meant for a person."""


class InvalidInput(AgentError):
    """The caller asked for something that cannot be meant."""


class NotFound(AgentError):
    """No such service, instance or rollout."""


class NotScraped(NotFound):
    """It is known, but nothing recent is known about it."""


class Conflict(AgentError):
    """It collides with what is already there or under way."""


class IllegalTransition(Conflict):
    """An event that does not apply to a rollout in its phase."""


class LeaseLost(Conflict):
    """Another agent has the lease by now, or may have it."""


class Unavailable(AgentError):
    """Something outside did not do its part."""


class Unreachable(Unavailable):
    """No connection could be made, or it broke."""


class TimedOut(Unavailable):
    """The other side was too slow."""


class BadAnswer(Unavailable):
    """The other side answered, but not with what was asked for."""


class TooLarge(BadAnswer):
    """The answer has more bytes or series than we are willing to read."""


class WrongEngine(BadAnswer):
    """The page is another engine's, or of none that we know."""


class ActuatorFailed(Unavailable):
    """A change could not be made on a replica."""


class StoreFailed(Unavailable):
    """The agent's own records cannot be opened, read or written."""
