"""What a change is judged by: one primary metric, a few guardrails, errors; and how much worse is still accepted.

Few metrics, because every further one adds its own chance of a false alarm.
"""

from collections.abc import Collection, Sequence

from perfagent.domain.metric import Kind, Metric
from perfagent.domain.proposal import Effect, Proposal
from perfagent.domain.verdict import Criterion, Role

DEFAULT_MARGIN = 0.15
"""How much worse is accepted where the change predicts nothing else. A convention, not a measurement: about what
users of a chat do not notice, and still provable with half of a ten-replica fleet in ten minutes."""

HARM_FLOOR = 0.03
"""Worse by certainly more than this is harm: small enough to stop what users would feel, large enough that a
difference which is real but of no consequence does not undo a good change. A convention, not a measurement."""

LARGEST_MARGIN = 0.9
"""Of throughput no more than this may ever be given up, whatever a prediction says."""

GUARDRAILS = ((Metric.TTFT, Metric.QUEUE_TIME), (Metric.ITL, Metric.TPOT), (Metric.E2E,), (Metric.GENERATION_TOKENS,))
"""Of each row the first that the engine exports: TGI, for one, has no TTFT."""

SHARES = (Metric.FAILED, Metric.REJECTED)
"""Judged as shares of all requests; any clear rise is harm."""


MIX = (Metric.FINISHED, Metric.PROMPT_LENGTH, Metric.GENERATION_LENGTH, Metric.PREFIX_HITS)
"""What both arms must have alike to be compared: requests that come, lengths, and what the prefix cache saves."""


def judged(criteria: Sequence[Criterion]) -> list[Criterion]:
    """Those whose size is judged: neither shares of requests nor the mix of work."""
    return [each for each in criteria if each.metric not in SHARES and each.role is not Role.MIX]


def criteria_for(proposal: Proposal | None, available: Collection[Metric]) -> tuple[Criterion, ...]:
    """The criteria for a change on an engine that exports the `available` metrics, the primary one first.

    The primary metric is the first that the proposal wants to improve and that can be judged; without a proposal (a
    change that a person gave) it is the first guardrail. Where the proposal predicts a loss as the price of its gain,
    the margin is what was predicted. Empty when nothing can be judged.
    """
    effects = () if proposal is None else proposal.effects
    wanted = [effect.metric for effect in effects[:1] if effect.metric in available and _judgeable(effect.metric)]
    guards = [next((metric for metric in row if metric in available), None) for row in GUARDRAILS]
    metrics = list(dict.fromkeys([*wanted, *(metric for metric in guards if metric is not None)]))
    chosen = [
        Criterion(metric, Role.GUARDRAIL if rank else Role.PRIMARY, _margin(metric, effects))
        for rank, metric in enumerate(metrics)
    ]
    shares = [Criterion(metric, Role.GUARDRAIL, 0.0) for metric in SHARES if chosen and metric in available]
    mixes = [Criterion(metric, Role.MIX, DEFAULT_MARGIN) for metric in MIX if chosen and metric in available]
    return (*chosen, *shares, *mixes)


def _judgeable(metric: Metric) -> bool:
    return metric.kind is Kind.HISTOGRAM or metric is Metric.GENERATION_TOKENS


def _margin(metric: Metric, effects: tuple[Effect, ...]) -> float:
    predicted = next((effect for effect in effects if effect.metric is metric), None)
    if predicted is None:
        return DEFAULT_MARGIN
    if metric is Metric.GENERATION_TOKENS:
        return min(LARGEST_MARGIN, max(DEFAULT_MARGIN, 1 - predicted.low_ratio))
    return max(DEFAULT_MARGIN, predicted.high_ratio - 1)
