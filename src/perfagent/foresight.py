"""Asks the twin on behalf of callers: one question at a time, beside the event loop, and not the same one twice.

A question takes seconds of one core. It is put about the busiest replica of a service, whose window says most.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from perfagent.domain.errors import InvalidInput
from perfagent.domain.finding import Cause, Diagnosis
from perfagent.domain.knob import Change, EffectiveConfig, LaunchConfig
from perfagent.domain.machine import Machine
from perfagent.domain.metric import Metric
from perfagent.domain.slo import Objective
from perfagent.domain.window import Window, increase
from perfagent.forecast import Forecaster, Load, Prediction, case
from perfagent.optimizers import THOROUGH, Effort, Tuned, search

REUSED_S = 60.0
"""How long an answer to the same findings stands: traffic does not change its nature in a minute."""
MOST_KEPT = 100
"""Services whose last answer is kept."""


@dataclass(frozen=True, slots=True)
class Replica:
    """What is known of one replica."""

    window: Window
    config: EffectiveConfig
    launch: LaunchConfig
    machine: Machine


@dataclass(frozen=True, slots=True)
class _Answer:
    at_s: float
    causes: tuple[Cause, ...]
    config: EffectiveConfig
    objectives: tuple[Objective, ...]
    tuned: Tuned


class Foresight:
    """The twin, for services that are looked after."""

    def __init__(self, effort: Effort = THOROUGH) -> None:
        self._effort = effort
        self._turn = asyncio.Lock()
        self._answers: dict[str, _Answer] = {}

    async def predict(self, replicas: Sequence[Replica], change: Change, load: Load) -> Prediction:
        """What a change would do to the busiest replica. Raises `InvalidInput` where that cannot be told."""
        one = busiest(replicas)
        async with self._turn:
            return await asyncio.to_thread(_predict, one, change, load, self._effort.draws)

    async def tune(
        self,
        service: str,
        replicas: Sequence[Replica],
        diagnosis: Diagnosis,
        config: EffectiveConfig,
        objectives: Sequence[Objective],
    ) -> Tuned:
        """What the twin makes of the findings, if asked lately what it made of the same ones then.

        Raises `InvalidInput` where the window does not tell enough for a prediction.
        """
        one = busiest(replicas)
        causes = tuple(finding.cause for finding in diagnosis.findings)
        async with self._turn:
            known = self._answers.pop(service, None)
            asked = (causes, config, tuple(objectives))
            fresh = known is not None and 0 <= diagnosis.end_s - known.at_s < REUSED_S
            if known is None or not fresh or (known.causes, known.config, known.objectives) != asked:
                tuned = await asyncio.to_thread(_tune, one, diagnosis, config, objectives, self._effort)
                known = _Answer(diagnosis.end_s, *asked, tuned)
            self._answers[service] = known
            while len(self._answers) > MOST_KEPT:
                del self._answers[next(iter(self._answers))]
            return known.tuned


def busiest(replicas: Sequence[Replica]) -> Replica:
    """The replica that answered most. Raises `InvalidInput` for none."""
    if not replicas:
        raise InvalidInput("no replica was scraped lately")
    return max(replicas, key=lambda one: increase(one.window, Metric.FINISHED) or 0.0)


def _predict(one: Replica, change: Change, load: Load, draws: int) -> Prediction:
    return Forecaster(case(one.window, one.config, one.launch, one.machine)).predict(change, load, draws=draws)


def _tune(
    one: Replica, diagnosis: Diagnosis, config: EffectiveConfig, objectives: Sequence[Objective], effort: Effort
) -> Tuned:
    forecaster = Forecaster(case(one.window, one.config, one.launch, one.machine))
    return search(diagnosis, config, forecaster, objectives, effort=effort)
