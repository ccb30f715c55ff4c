"""Asks the twin on behalf of callers: one question at a time, beside the event loop, and not the same one twice.

A question takes seconds of one core. It is put about the busiest replica of a service, whose window says most.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import inf

from perfagent.domain.errors import InvalidInput, Unavailable
from perfagent.domain.finding import Cause, Diagnosis
from perfagent.domain.knob import Change, EffectiveConfig, Knob, KnobValue, LaunchConfig
from perfagent.domain.machine import Machine
from perfagent.domain.metric import Metric
from perfagent.domain.slo import Objective
from perfagent.domain.window import Window, increase
from perfagent.forecast import Case, Forecaster, Load, Prediction, case
from perfagent.forecast.knowledge import OVERLAP, key_of, kin, learned_from
from perfagent.forecast.server import known
from perfagent.optimizers import THOROUGH, Effort, Promoted, Tuned, search
from perfagent.optimizers.search import of_each
from perfagent.ports import Knowledge

REUSED_S = 60.0
"""How long an answer to the same findings stands: traffic does not change its nature in a minute."""
LEARN_EVERY_S = 300.0
"""As long as a live window is, so that no window is learned from twice."""
TYPED = (Knob.QUANTIZATION, Knob.KV_CACHE_DTYPE)
"""Settings that replicas of one service differ in while data types are changed."""
MOST_WAITING = 8
"""Questions in the queue; at some ten seconds each more would wait longer than anybody does."""
MOST_KEPT = 100
"""Services whose last answer is kept."""


@dataclass(frozen=True, slots=True)
class Replica:
    """What is known of one replica."""

    window: Window
    config: EffectiveConfig
    launch: LaunchConfig
    machine: Machine


_Kind = tuple[str | KnobValue | None, ...]
"""A service, and how its replicas are typed."""


@dataclass(frozen=True, slots=True)
class _Answer:
    at_s: float
    causes: tuple[Cause, ...]
    config: EffectiveConfig
    objectives: tuple[Objective, ...]
    machine: Machine
    targets: tuple[str, ...]
    promoted: Promoted
    tuned: Tuned

    @property
    def asked(self) -> tuple[object, ...]:
        """What was asked: another answer follows from anything else."""
        return (self.causes, self.config, self.objectives, self.machine, self.targets, self.promoted)


class Foresight:
    """The twin, for services that are looked after."""

    def __init__(
        self, knowledge: Knowledge, effort: Effort = THOROUGH, widening: Callable[[], float] = lambda: 1.0
    ) -> None:
        self._knowledge = knowledge
        self._widening = widening
        self._effort = effort
        self._learned_s: dict[_Kind, float] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._answers: dict[str, _Answer] = {}

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        """Wait for the twin. Raises `Unavailable` where too many wait already."""
        if self._waiting >= MOST_WAITING:
            raise Unavailable(f"{self._waiting} questions wait for the twin already: ask later")
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turn.release()

    @property
    def busy(self) -> bool:
        """Whether a question is being answered, and the next one would wait."""
        return self._turn.locked()

    def learn(self, service: str, replicas: Sequence[Replica], now_s: float) -> None:
        """Let what is known of such servers grow by a window, once for every window's length; quick enough to wait.

        While a rollout changes data types there are two kinds of servers, and a window of each is learned from.
        """
        kinds: dict[_Kind, list[Replica]] = {}
        for each in replicas:
            kinds.setdefault((service, *(each.config.value(knob) for knob in TYPED)), []).append(each)
        for kind, alike in kinds.items():
            if now_s - self._learned_s.get(kind, -inf) >= LEARN_EVERY_S and self._learn(service, busiest(alike), now_s):
                self._learned_s[kind] = now_s

    def _learn(self, service: str, one: Replica, now_s: float) -> bool:
        """Whether the replica's window taught anything."""
        try:
            server = known(one.window, one.config, one.launch, one.machine)
            key = key_of(server, one.window, service)
            before = self._knowledge.get(key)
            found = self._case(service, one, now_s, fade=1.0)
        except InvalidInput:
            return False
        self._knowledge.put(key, learned_from(found.fitted.fit, one.window.end_s, before))
        return True

    async def predict(self, service: str, replicas: Sequence[Replica], change: Change, load: Load) -> Prediction:
        """What a change would do to the busiest replica. Raises `InvalidInput` where that cannot be told."""
        one = busiest(replicas)
        async with self._my_turn():
            of = self._case(service, one, one.window.end_s)
            return await asyncio.to_thread(
                Forecaster(of, widening=self._widening()).predict, change, load, draws=self._effort.draws
            )

    async def tune(
        self,
        service: str,
        replicas: Sequence[Replica],
        diagnosis: Diagnosis,
        config: EffectiveConfig,
        objectives: Sequence[Objective],
        promoted: Promoted = (),
    ) -> Tuned:
        """What the twin makes of the findings, if asked lately what it made of the same ones then.

        `promoted` is what helped such servers against which cause before.

        Raises `InvalidInput` where the window does not tell enough for a prediction.
        """
        one = busiest(replicas)
        causes = tuple(finding.cause for finding in diagnosis.findings)
        targets = tuple(each.window.target for each in replicas)
        async with self._my_turn():
            known = self._answers.pop(service, None)
            asked = (causes, config, tuple(objectives), one.machine, targets, promoted)
            fresh = known is not None and 0 <= diagnosis.end_s - known.at_s < REUSED_S
            if known is None or not fresh or known.asked != asked:
                asker = Forecaster(self._case(service, one, one.window.end_s), widening=self._widening())
                its_part = [of_each(objective, len(replicas)) for objective in objectives]
                tuned = await asyncio.to_thread(
                    search, diagnosis, config, asker, its_part, effort=self._effort, promoted=promoted
                )
                known = _Answer(diagnosis.end_s, *asked, tuned)
            self._answers[service] = known
            while len(self._answers) > MOST_KEPT:
                del self._answers[next(iter(self._answers))]
            return known.tuned

    def _case(self, service: str, one: Replica, now_s: float, fade: float = OVERLAP) -> Case:
        """The replica's window on top of what was learned before."""

        server = known(one.window, one.config, one.launch, one.machine)
        alike = kin(self._knowledge.get, server, one.window, service, now_s)
        own = alike[server.types].faded(fade) if server.types in alike else None
        return replace(case(one.window, one.config, one.launch, one.machine, lambda _: own), kin=alike)


def busiest(replicas: Sequence[Replica]) -> Replica:
    """The replica that answered most. Raises `InvalidInput` for none."""
    if not replicas:
        raise InvalidInput("no replica was scraped lately")
    return max(replicas, key=lambda one: increase(one.window, Metric.FINISHED) or 0.0)
