"""From both arms of a stage to promote, hold or roll back, with reasons.

Missing data never promotes, and harm is proven, not guessed: between the two lies hold. What each share of the fleet
can prove decides the rule it is judged by.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from perfagent.domain.errors import InvalidInput
from perfagent.domain.verdict import (
    NO_PAST,
    ONLY_LOOK,
    Criterion,
    Effectiveness,
    Judgement,
    Look,
    PairedWindow,
    Quiet,
    Role,
    StageRule,
    StageVerdict,
    Verdict,
)
from perfagent.domain.window import Window, resets
from perfagent.judge.compare import Figures, judge_metrics, worst_accepted
from perfagent.judge.criteria import HARM_FLOOR, SHARES, judged
from perfagent.judge.evidence import NO_EVIDENCE, judge_share, restart_evidence
from perfagent.judge.measure import Span
from perfagent.judge.mix import easier, excuses, judge_mix, warm_from

SILENT_SHARE = 1 / 3
"""A canary replica that is not seen in this last part of the observation, while others are, has vanished."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that a verdict is made from."""

    windows: tuple[PairedWindow, ...]
    past: tuple[PairedWindow, ...] = ()
    """The same replicas before the change, in stretches."""
    quiet: Quiet = NO_PAST
    """The service's own noise."""
    lost: tuple[str, ...] = ()
    """Canary replicas that vanished, each with what was seen."""
    restarted: tuple[str, ...] = ()
    """Canary replicas that restarted, each with what was seen: not enough to prove harm, or it would be over."""


def decide(
    measured: Measured, criteria: Sequence[Criterion], *, rule: StageRule, paired: bool, look: Look = ONLY_LOOK
) -> StageVerdict:
    """The verdict that the raw figures lead to; the same figures always lead to the same verdict.

    Without `paired` nobody was left without the change, and the past of the same replicas is the baseline. The load is
    not the same then, so only what is proven to lie beyond the margin itself is harm.
    """
    warm_s, warming = warm_from(measured.windows)
    figures = Figures(
        [window for window in measured.windows if window.start_s >= warm_s], measured.past, measured.quiet, paired
    )
    shares = [each for each in criteria if each.metric in SHARES]
    mixes = tuple(judge_mix(each, figures, look) for each in criteria if each.role is Role.MIX)
    judgements = (
        *judge_metrics(judged(criteria), figures, look, harm_floor=HARM_FLOOR if paired else None),
        *(judge_share(each, measured.windows, () if paired else measured.past) for each in shares),
    )
    verdict, reasons = _verdict(judgements, mixes, measured, rule)
    return StageVerdict(
        verdict,
        reasons,
        (*judgements, *mixes),
        measured.windows,
        measured.past,
        measured.quiet,
        rule,
        paired,
        look,
        measured.lost,
        measured.restarted,
        warming,
    )


def again(verdict: StageVerdict) -> StageVerdict:
    """The same verdict, worked out anew from the figures that it kept. Raises `InvalidInput` where it kept too few."""
    if verdict.quiet is None or verdict.rule is None:
        raise InvalidInput("the verdict is of a release that did not keep everything it was made from")
    measured = Measured(verdict.windows, verdict.past, verdict.quiet, verdict.lost, verdict.restarted)
    criteria = [judgement.criterion for judgement in verdict.judgements]
    return decide(measured, criteria, rule=verdict.rule, paired=verdict.paired, look=verdict.look)


def lost_replicas(
    baseline: Sequence[Window], canary: Sequence[Window], windows: Sequence[Span], canaries: Sequence[str]
) -> tuple[str, ...]:
    """Canary replicas that vanished before the end of the windows while others were still seen."""
    if not windows:
        return ()
    start_s, end_s = windows[0][0], windows[-1][1]
    late_s = end_s - SILENT_SHARE * (end_s - start_s)
    seen = {window.target: window.between(start_s, end_s) for window in canary}
    if not any(window.end_s >= late_s for window in (*canary, *baseline)):
        return ()
    last_s = {target: window.end_s for target, window in seen.items() if window is not None}
    return tuple(f"{each} vanished while it was observed" for each in sorted(canaries) if last_s.get(each, 0) < late_s)


def restarted_replicas(
    baseline: Sequence[Window], canary: Sequence[Window], windows: Sequence[Span], starting: Sequence[str] = ()
) -> tuple[str, ...]:
    """Canary replicas that restarted within the windows, or are `starting` again at their end, where that speaks for
    harm: of many replicas that are watched for long one restarts by itself now and then, as the others do."""
    inside, others = (
        [part for each in arm if windows and (part := each.between(windows[0][0], windows[-1][1])) is not None]
        for arm in (canary, baseline)
    )
    found = [f"{each.target} restarted while it was observed" for each in inside if resets(each)]
    found += [f"{each} is being started again" for each in starting]
    seen_s, others_s = (sum(each.span_s for each in arm) for arm in (inside, others))
    evidence = restart_evidence(len(found), seen_s, sum(map(resets, others)), others_s)
    return tuple(found) if evidence > NO_EVIDENCE else ()


def _verdict(
    judgements: Sequence[Judgement], mixes: Sequence[Judgement], measured: Measured, rule: StageRule
) -> tuple[Verdict, tuple[str, ...]]:
    worse = [each for each in judgements if each.result is Effectiveness.WORSE]
    harm = (*measured.lost, *(each.reason for each in worse if not excuses(each, mixes)))
    if harm:
        return Verdict.ROLL_BACK, harm
    excused = [excuse for each in worse for excuse in excuses(each, mixes)]
    unlike = tuple(dict.fromkeys([*excused, *(each.reason for each in mixes if easier(each))]))
    missing = (*unlike, *measured.restarted, *_reasons(judgements, Effectiveness.NO_DATA))
    if missing or not judgements:
        return Verdict.HOLD, missing or ("there is nothing to judge by",)
    doubtful = {StageRule.NO_HARM: _unlikely, StageRule.NOT_INFERIOR: _unclear, StageRule.WATCH: _looks_bad}[rule]
    doubts = tuple(judgement.reason for judgement in judgements if doubtful(judgement))
    if doubts:
        return Verdict.HOLD, doubts
    return Verdict.PROMOTE, tuple(judgement.reason for judgement in judgements)


def _reasons(judgements: Sequence[Judgement], result: Effectiveness) -> tuple[str, ...]:
    return tuple(judgement.reason for judgement in judgements if judgement.result is result)


def _unlikely(judgement: Judgement) -> bool:
    return not judgement.likely


def _unclear(judgement: Judgement) -> bool:
    return judgement.result is Effectiveness.UNCLEAR


def _looks_bad(judgement: Judgement) -> bool:
    """Worse than accepted by the estimate alone. Shares are left to their own test."""
    if judgement.low is None or judgement.ratio is None:
        return False
    return judgement.ratio > worst_accepted(judgement.criterion)
