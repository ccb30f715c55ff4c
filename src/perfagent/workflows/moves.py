"""The moves that a rollout makes when something has happened: each gives the rollout after it, and none decides."""

from dataclasses import replace

from perfagent.domain.verdict import Verdict
from perfagent.workflows.model import Edit, Hold, Phase, Plan, Rollout, StageRecord, least_past_s


def start(rollout: Rollout, plan: Plan, at_s: float, reason: str) -> Rollout:
    """Begin with an approved plan, or wait where a person has to make the change."""
    if plan.by_hand:
        return hold(rollout, at_s, None, f"no actuator: apply by hand: {' '.join(plan.flags)}")
    deadline_s = at_s + least_past_s(plan.pace) + plan.pace.ready_timeout_s
    return replace(rollout, phase=Phase.ROLLING_OUT, hold=None, deadline_s=deadline_s, reason=reason)


def plan_anew(rollout: Rollout, reason: str) -> Rollout:
    """Back to the beginning: nothing was touched, and what was read may have changed."""
    return replace(
        _unread(rollout),
        phase=Phase.PENDING,
        plan=None,
        approval=None,
        hold=None,
        deadline_s=None,
        reason=f"planned anew: {reason}",
    )


def thaw(rollout: Rollout, at_s: float) -> Rollout:
    """Go on after a freeze, unless the approval has run out meanwhile."""
    approval, counts_s = rollout.approval, rollout.planned.pace.approval_timeout_s
    if approval is not None and at_s >= approval.at_s + counts_s and not rollout.touched:
        return plan_anew(rollout, f"{approval.who}'s approval ran out during the freeze")
    return look_again(rollout, at_s, "the freeze is over")


def look_again(rollout: Rollout, at_s: float, reason: str) -> Rollout:
    """Go on changing replicas after a freeze or somebody's edit; where nothing was touched, store what is there anew.

    The past that a stage is compared with ends where its first replica is changed, so it has not begun before that.
    """
    plan = rollout.planned
    if not rollout.touched:
        return start(_unread(rollout), plan, at_s, reason)
    before = plan.stages[rollout.stage - 1].targets if rollout.stage else ()
    begun = rollout if set(rollout.touched) - set(before) else record(rollout, started_at_s=at_s)
    return replace(
        begun, phase=Phase.ROLLING_OUT, hold=None, deadline_s=at_s + plan.pace.ready_timeout_s, reason=reason
    )


def enter_stage(rollout: Rollout, index: int, at_s: float, reason: str) -> Rollout:
    """Bring the change to the replicas of a stage."""
    plan = rollout.planned
    stage = plan.stages[index]
    record = StageRecord(
        stage.percent, stage.actual_percent, stage.targets, started_at_s=at_s, warm_up_s=plan.pace.warm_up_s
    )
    return replace(
        rollout,
        phase=Phase.ROLLING_OUT,
        stage=index,
        applied_at_s=None,
        observed_from_s=None,
        judge_at_s=None,
        extensions=0,
        hold=None,
        deadline_s=at_s + plan.pace.ready_timeout_s,
        history=(*rollout.history, record),
        reason=reason,
    )


def observe(rollout: Rollout, judge_at_s: float, reason: str) -> Rollout:
    """Let the stage run until the judge is asked."""
    return replace(
        rollout,
        phase=Phase.MONITORING,
        judge_at_s=judge_at_s,
        asked=False,
        deadline_s=None,
        hold=None,
        reason=reason,
    )


def hold(rollout: Rollout, at_s: float, resume: Phase | None, reason: str) -> Rollout:
    """Wait for a person, as long as the plan says; `resume` is where it goes on then."""
    deadline_s = at_s + rollout.planned.pace.hold_timeout_s
    return replace(rollout, phase=Phase.HELD, hold=Hold(reason, resume), deadline_s=deadline_s, reason=reason)


def drifted(rollout: Rollout, at_s: float, resume: Phase, edits: tuple[Edit, ...]) -> Rollout:
    """Held for a person, and no longer than what it is held for already."""
    told = f"somebody else has changed {', '.join(map(str, edits))}: resume looks again, abort undoes this rollout"
    if not edits:
        told = "what somebody else had changed is as it was: resume goes on, abort undoes this rollout"
    held = replace(hold(rollout, at_s, resume, told), hold=Hold(told, resume, edits=edits))
    return replace(held, deadline_s=rollout.deadline_s or held.deadline_s) if rollout.phase is Phase.HELD else held


def promote(rollout: Rollout, at_s: float, reasons: tuple[str, ...]) -> Rollout:
    """To the next stage, or to the end."""
    ended = record(rollout, ended_at_s=at_s, verdict=Verdict.PROMOTE, reasons=reasons)
    if rollout.stage + 1 < len(rollout.planned.stages):
        return enter_stage(ended, rollout.stage + 1, at_s, "; ".join(reasons))
    return replace(ended, phase=Phase.COMPLETED, hold=None, deadline_s=None, reason="; ".join(reasons))


def roll_back(rollout: Rollout, at_s: float, reason: str) -> Rollout:
    """Give every replica back what it had; at once at the end where none was touched."""
    ended = replace(rollout, hold=None, deadline_s=None, judge_at_s=None, reason=reason)
    if rollout.history and rollout.history[-1].ended_at_s is None:
        ended = record(ended, ended_at_s=at_s, verdict=Verdict.ROLL_BACK, reasons=(reason,))
    if rollout.touched:
        return replace(ended, phase=Phase.ROLLING_BACK, restoring_at_s=at_s)
    return replace(ended, phase=Phase.ROLLED_BACK, reason=f"{reason}; nothing had been changed")


def give_up(rollout: Rollout, at_s: float, reason: str) -> Rollout:
    """Back where something may have been touched; failed where nothing was."""
    after = roll_back(rollout, at_s, reason)
    return after if rollout.touched else replace(after, phase=Phase.FAILED)


def calm(rollout: Rollout) -> Rollout:
    """Nothing has failed lately."""
    return replace(rollout, attempts=0, retry_at_s=0.0, trouble="")


def record(rollout: Rollout, **changes: object) -> Rollout:
    """The rollout with its current stage's record changed."""
    latest = replace(rollout.history[-1], **changes)  # type: ignore[arg-type]
    return replace(rollout, history=(*rollout.history[:-1], latest))


def _unread(rollout: Rollout) -> Rollout:
    """Without anything that was found out about the replicas."""
    return replace(rollout, captured=(), captured_at_s=None, answers=(), history=())
