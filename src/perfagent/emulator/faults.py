"""What can go wrong in an emulated fleet besides its configuration.

A change that harms needs no fault: the model does it, but for answers. Times are seconds from the fleet's beginning;
`replica` is an index.
"""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class SlowReplica:
    """A replica's steps take `factor` times as long for a while, as on a GPU that throttles."""

    replica: int
    factor: float
    from_s: float = 0.0
    to_s: float = inf


@dataclass(frozen=True, slots=True)
class Crash:
    """A running replica's process dies; unless `comes_back`, it stays down until it is applied again."""

    replica: int
    at_s: float
    comes_back: bool = True


@dataclass(frozen=True, slots=True)
class CrashAtStart:
    """From `from_s` on, the replica's next `times` starts end in an exit, whatever the configuration."""

    replica: int
    times: int = 1
    from_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LostScrapes:
    """For a while, a share of the requests for a replica's metrics page is not answered with one."""

    replica: int
    share: float = 1.0
    from_s: float = 0.0
    to_s: float = inf


@dataclass(frozen=True, slots=True)
class BadAnswers:
    """Wherever a replica computes with fewer than 16 bits, its answers go bad: at this share of the places another
    token comes, as with scales that are missing. With 16 bits nothing happens, so it is the change that harms."""

    replica: int
    share: float = 0.3


Fault = SlowReplica | Crash | CrashAtStart | LostScrapes | BadAnswers
