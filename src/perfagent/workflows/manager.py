"""Runs every rollout: ask what is due, do it, journal what came of it, fold.

An event is journalled before anything is built on it, and what is due follows from the state alone. So a manager that
is killed anywhere is replaced by another on the same journal. Several agents may have one journal: only the one with
the lease does what is due, and people may speak to any of them. Calls come from one thread, the loop's.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from secrets import token_hex

from perfagent.domain.errors import AgentError, BadAnswer, Conflict, IllegalTransition, InvalidInput, NotFound
from perfagent.ports import Journal, Recorded
from perfagent.workflows.codec import decode, encode
from perfagent.workflows.due import due, overdue
from perfagent.workflows.effects import Effects
from perfagent.workflows.events import (
    Aborted,
    Approved,
    Effect,
    Event,
    Paused,
    Promoted,
    Recovered,
    Rejected,
    Requested,
    Resumed,
    Stumbled,
    TakenOver,
    Verb,
)
from perfagent.workflows.leadership import Leadership
from perfagent.workflows.machine import fold, repeats, step
from perfagent.workflows.model import Request, Rollout
from perfagent.workflows.resting import must_rest

_LOG = logging.getLogger(__name__)

LOOK_S = 5.0
"""How soon replicas that had nothing new to tell are asked again, or as soon as they are scraped again where that is
sooner: a start takes minutes, and a crash is still told in time."""

MOST_TRIES = 10
"""How often somebody else may be faster before a person's word is given back: it takes two within milliseconds."""


class Manager:
    """All rollouts, each by itself: trouble with one never stops another.

    Raises `BadAnswer` or `IllegalTransition` when the journal at hand cannot be read.
    """

    def __init__(
        self,
        journal: Journal,
        effects: Effects,
        lead: Leadership,
        *,
        new_id: Callable[[], str] = lambda: token_hex(6),
    ) -> None:
        self._journal = journal
        self._effects = effects
        self._lead = lead
        self._clock = effects.clock
        self._new_id = new_id
        self._busy: set[str] = set()
        self._look_s = min(LOOK_S, effects.scrape_s)
        self._fruitless: dict[str, tuple[int, Effect, float]] = {}
        self._rollouts: dict[str, Rollout] = {}
        self._position = 0
        """Where in the journal everything before has been read."""
        self.refresh()

    def refresh(self) -> None:
        """Read what was journalled since, by any agent; before anything is answered that must not be out of date."""
        for position, event in self._journal.after(self._position):
            known = self._rollouts.get(event.rollout_id)
            if known is None or known.seq == event.seq:
                self._keep(_folded(known, event))
            self._position = position

    def create(self, request: Request) -> Rollout:
        """Begin a rollout; it is planned by the next `tick`.

        Raises `NotFound` for an unknown service and `Conflict` when the service has an active rollout, its policy wants
        it to rest and the request does not override that, or another agent has begun a rollout that was not read yet.
        """
        service = self._effects.services(request.service)
        other = self.active(service.id)
        if other is not None:
            raise Conflict(f"service {service.id} has rollout {other.id} under way, which is {other.phase}")
        now_s = self._clock.now()
        before = (rollout for rollout in self._rollouts.values() if rollout.request.service == service.id)
        rest = must_rest(service.policy, before, now_s)
        if rest is not None and not request.override:
            raise Conflict(f"service {service.id}: {rest}; ask with an override that says why it cannot wait")
        event = Requested(now_s, request)
        rollout_id = self._new_id()
        self._journal.append(rollout_id, 0, event.at_s, *encode(event), seen=self._position)
        self.refresh()
        return self._rollouts[rollout_id]

    def get(self, rollout_id: str) -> Rollout:
        """The rollout as it stands. Raises `NotFound`."""
        if rollout_id not in self._rollouts:
            raise NotFound(f"no rollout {rollout_id!r}")
        return self._rollouts[rollout_id]

    def rollouts(self) -> Sequence[Rollout]:
        """Every rollout ever begun, oldest first."""
        return tuple(self._rollouts.values())

    def active(self, service_id: str) -> Rollout | None:
        """The service's rollout that is under way."""
        return next((r for r in self._rollouts.values() if r.active and r.request.service == service_id), None)

    def events(self, rollout_id: str) -> Sequence[tuple[int, Event]]:
        """Everything that happened, as (sequence number, event). Raises `NotFound`."""
        self.get(rollout_id)
        return [(seq, decode(kind, body)) for seq, _, kind, body in self._journal.events(rollout_id)]

    def approve(self, rollout_id: str, who: str, why: str, plan_hash: str | None = None) -> Rollout:
        """Agree to the plan with this hash; None means the present one.

        Like every verb: safe to repeat, and raises `NotFound`, `InvalidInput` without who or why, or
        `IllegalTransition` where it does not apply.
        """

        def approval(rollout: Rollout) -> Verb:
            present = rollout.plan.hash if rollout.plan is not None else ""
            now_s = self._clock.now()
            approved = Approved(now_s, who, why, plan_hash if plan_hash is not None else present)
            if not repeats(rollout, approved):
                if approved.plan_hash != present:
                    raise IllegalTransition("the approval is for another plan than the present one; look at it again")
                if overdue(rollout, now_s):
                    raise IllegalTransition("the plan was to be approved in time, and that time is over")
            return approved

        return self._say(rollout_id, approval)

    def reject(self, rollout_id: str, who: str, why: str) -> Rollout:
        """Refuse the plan: nothing is ever touched."""
        return self._say(rollout_id, lambda _: Rejected(self._clock.now(), who, why))

    def pause(self, rollout_id: str, who: str, why: str) -> Rollout:
        """Hold where it is, until `resume`; replicas with the change keep it and are watched."""
        return self._say(rollout_id, lambda _: Paused(self._clock.now(), who, why))

    def resume(self, rollout_id: str, who: str, why: str) -> Rollout:
        """Go on where it was held."""
        return self._say(rollout_id, lambda _: Resumed(self._clock.now(), who, why))

    def abort(self, rollout_id: str, who: str, why: str) -> Rollout:
        """Put everything back as it was, and stop."""
        return self._say(rollout_id, lambda _: Aborted(self._clock.now(), who, why))

    def take_over(self, rollout_id: str, who: str, why: str) -> Rollout:
        """End a rollback that cannot be done: whoever says so sees to the replicas that are not restored."""
        return self._say(rollout_id, lambda _: TakenOver(self._clock.now(), who, why))

    def promote(self, rollout_id: str, who: str, why: str, *, percent: int | None = None) -> Rollout:
        """Go on to the next stage without the judge.

        `percent` names the stage that is meant, so that a repeat which arrives late cannot promote the next one.
        """

        def promotion(rollout: Rollout) -> Verb | None:
            stage = rollout.current_stage
            if percent is not None and stage is not None and percent < stage.percent:
                return None
            if percent is not None and (stage is None or percent > stage.percent):
                raise IllegalTransition(f"rollout {rollout_id} has not reached {percent} % yet")
            return Promoted(self._clock.now(), who, why)

        return self._say(rollout_id, promotion)

    async def tick(self) -> None:
        """Do everything that is due, for every rollout, if this agent has the lease.

        What an actuator or a survey fails at is journalled and tried again later; only a journal that fails raises.
        """
        active = [rollout.id for rollout in self._rollouts.values() if rollout.active]
        answers = await asyncio.gather(*(self._advance(each) for each in active), return_exceptions=True)
        for answer in answers:
            if answer is not None:
                raise answer

    async def _advance(self, rollout_id: str) -> None:
        if rollout_id in self._busy:
            return
        self._busy.add(rollout_id)
        try:
            while (effect := due(asked := self.get(rollout_id), self._clock.now())) is not None:
                token = self._lead.token
                if token is None or self._just_tried(asked, effect):
                    return
                event = await self._attempt(asked, effect)
                if self.get(rollout_id).seq != asked.seq:
                    continue  # somebody spoke meanwhile: the answer is to a question that nobody asks any more
                if event is None:
                    self._fruitless[rollout_id] = (asked.seq, effect, self._clock.now())
                    return
                self._fruitless.pop(rollout_id, None)
                self._record(asked, event, token=token)
        except Conflict as error:
            _LOG.warning("rollout %s: left to whoever was faster: %s", rollout_id, error)
        finally:
            self._busy.discard(rollout_id)

    def _just_tried(self, rollout: Rollout, effect: Effect) -> bool:
        seq, tried, at_s = self._fruitless.get(rollout.id, (-1, None, 0.0))
        return (seq, tried) == (rollout.seq, effect) and 0 <= self._clock.now() - at_s < self._look_s

    async def _attempt(self, rollout: Rollout, effect: Effect) -> Event | None:
        try:
            event = await self._effects.run(rollout, effect)
        except AgentError as error:
            return Stumbled(self._clock.now(), str(error))
        except Exception as error:
            _LOG.exception("rollout %s: %s failed", rollout.id, type(effect).__name__)
            return Stumbled(self._clock.now(), f"unexpected {type(error).__name__}: {error}")
        if event is None and rollout.attempts:
            return Recovered(self._clock.now())
        return event

    def _say(self, rollout_id: str, word: Callable[[Rollout], Verb | None]) -> Rollout:
        """Journal what a person says to the rollout as it stands; where somebody was faster, as it stands then.

        Raises `InvalidInput` where nobody says it, or not why.
        """
        for _ in range(MOST_TRIES):
            rollout = self.get(rollout_id)
            verb = word(rollout)
            if verb is None:
                return rollout
            if not (verb.who.strip() and verb.why.strip()):
                raise InvalidInput("whoever decides says who it is, and why")
            if repeats(rollout, verb):
                return rollout
            after = step(rollout, verb)
            try:
                self._journal.append(rollout.id, rollout.seq, verb.at_s, *encode(verb))
            except Conflict:
                self.refresh()
            else:
                return self._keep(after)
        raise Conflict(f"too much happened to rollout {rollout_id} at the same moment; say it again")

    def _record(self, rollout: Rollout, event: Event, *, token: int) -> None:
        """Fold and journal what came of an effect. Raises `Conflict` when another manager was faster, or has the lease;
        then this one has read what it wrote."""
        after = step(rollout, event)
        try:
            self._journal.append(rollout.id, rollout.seq, event.at_s, *encode(event), token=token)
        except Conflict:
            self.refresh()
            raise
        self._keep(after)

    def _keep(self, rollout: Rollout) -> Rollout:
        self._rollouts[rollout.id] = rollout
        if not rollout.active:
            self._fruitless.pop(rollout.id, None)
            self._effects.forget(rollout.id)
        return rollout


def _folded(rollout: Rollout | None, recorded: Recorded) -> Rollout:
    """The rollout after an event from the journal; None before its first."""
    try:
        event = decode(recorded.kind, recorded.body)
        return fold(recorded.rollout_id, [event]) if rollout is None else step(rollout, event)
    except (BadAnswer, IllegalTransition) as error:
        raise type(error)(f"rollout {recorded.rollout_id}: {error}") from error
