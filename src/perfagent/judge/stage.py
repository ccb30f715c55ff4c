"""From both arms of a stage to promote, hold or roll back, with reasons.

Missing data never promotes, and harm is proven, not guessed: between the two lies hold. What each share of the fleet
can prove decides the rule it is judged by.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from perfagent.domain.verdict import Criterion, Effectiveness, Judgement, PairedWindow, StageVerdict, Verdict
from perfagent.domain.window import Window, resets
from perfagent.judge.compare import judge_metric, worst_accepted
from perfagent.judge.measure import Span, measure, measure_past

HARM_FLOOR = 0.03
"""Worse by certainly more than this is harm: small enough to stop what users would feel, large enough that a
difference which is real but of no consequence does not undo a good change. A convention, not a measurement."""

SILENT_SHARE = 1 / 3
"""A canary replica that is not seen in this last part of the observation, while others are, has vanished."""


class StageRule(StrEnum):
    """What a stage has to show."""

    NO_HARM = "no_harm"
    """A small share: no proven harm, and nothing that looks worse than accepted. It cannot prove more."""
    NOT_INFERIOR = "not_inferior"
    """About half of the fleet: every criterion is proven to be within its margin."""
    OWN_PAST = "own_past"
    """No baseline left: against the same replicas before the change. The load is not the same then, so only what is
    proven to lie beyond the margin itself is harm."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that a verdict is made from."""

    windows: tuple[PairedWindow, ...]
    lost: tuple[str, ...] = ()
    """Canary replicas that restarted or vanished, each with what was seen."""


def judge_stage(
    baseline: Sequence[Window],
    canary: Sequence[Window],
    criteria: Sequence[Criterion],
    *,
    rule: StageRule,
    windows: Sequence[Span],
    past: Sequence[Span] = (),
    canaries: Sequence[str] = (),
) -> StageVerdict:
    """The verdict on a stage from what was scraped of both arms in the observation `windows`.

    `canaries` are the replicas that should be seen in the canary; a window that is missing altogether is noticed
    only with it. Under `StageRule.OWN_PAST`, `baseline` is what was scraped of them in the windows `past`, before
    they were changed.
    """
    metrics = [criterion.metric for criterion in criteria]
    lost = lost_replicas(baseline, canary, windows, canaries or [window.target for window in canary])
    if rule is StageRule.OWN_PAST:
        figures = (*measure_past(baseline, metrics, past), *measure((), canary, metrics, windows))
    else:
        figures = measure(baseline, canary, metrics, windows)
    return decide(Measured(figures, lost), criteria, rule=rule)


def decide(measured: Measured, criteria: Sequence[Criterion], *, rule: StageRule) -> StageVerdict:
    """The verdict that the raw figures lead to; the same figures always lead to the same verdict."""
    floor = None if rule is StageRule.OWN_PAST else HARM_FLOOR
    paired = rule is not StageRule.OWN_PAST
    judgements = tuple(judge_metric(each, measured.windows, harm_floor=floor, paired=paired) for each in criteria)
    verdict, reasons = _verdict(judgements, measured.lost, rule)
    return StageVerdict(verdict, reasons, judgements, measured.windows)


def lost_replicas(
    baseline: Sequence[Window], canary: Sequence[Window], windows: Sequence[Span], canaries: Sequence[str]
) -> tuple[str, ...]:
    """Canary replicas that restarted within the windows, or vanished before their end while others were still seen."""
    if not windows:
        return ()
    start_s, end_s = windows[0][0], windows[-1][1]
    late_s = end_s - SILENT_SHARE * (end_s - start_s)
    seen = {window.target: window.between(start_s, end_s) for window in canary}
    others_seen = any(window.end_s >= late_s for window in (*canary, *baseline))
    said = []
    for target in sorted(canaries):
        inside = seen.get(target)
        if inside is not None and resets(inside):
            said.append(f"{target} restarted while it was observed")
        elif others_seen and (inside is None or inside.end_s < late_s):
            said.append(f"{target} vanished while it was observed")
    return tuple(said)


def _verdict(
    judgements: Sequence[Judgement], lost: tuple[str, ...], rule: StageRule
) -> tuple[Verdict, tuple[str, ...]]:
    harm = (*lost, *_reasons(judgements, Effectiveness.WORSE))
    if harm:
        return Verdict.ROLL_BACK, harm
    missing = _reasons(judgements, Effectiveness.NO_DATA)
    if missing or not judgements:
        return Verdict.HOLD, missing or ("there is nothing to judge by",)
    if rule is StageRule.NOT_INFERIOR:
        doubts = _reasons(judgements, Effectiveness.UNCLEAR)
    else:
        doubts = tuple(judgement.reason for judgement in judgements if _looks_bad(judgement))
    if doubts:
        return Verdict.HOLD, doubts
    return Verdict.PROMOTE, tuple(judgement.reason for judgement in judgements)


def _reasons(judgements: Sequence[Judgement], result: Effectiveness) -> tuple[str, ...]:
    return tuple(judgement.reason for judgement in judgements if judgement.result is result)


def _looks_bad(judgement: Judgement) -> bool:
    """Worse than accepted by the estimate alone. Shares are left to their own test."""
    if judgement.low is None or judgement.ratio is None:
        return False
    return judgement.ratio > worst_accepted(judgement.criterion)
