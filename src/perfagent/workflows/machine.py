"""What follows from an event: with what is due (`due.py`) a rollout's whole behaviour, without any effect.

`step` never looks at the world and `due` never remembers anything, so a rollout that is read back from its journal
after a crash goes on exactly where it was. The share widens only by a promote verdict or a person's promote, and
whatever goes wrong once a replica may have been touched leads to a rollback, which nobody can pause, and which ends
only when it is done or a person takes it over.
"""

from collections.abc import Iterable
from dataclasses import replace

from perfagent.domain.errors import IllegalTransition
from perfagent.domain.verdict import Verdict
from perfagent.workflows.events import (
    Aborted,
    Answered,
    Applied,
    Approved,
    CanaryLost,
    Drifted,
    Event,
    Expired,
    Frozen,
    Judged,
    NothingToDo,
    Outdated,
    Paused,
    Planned,
    PlanRefused,
    PriorStored,
    Probed,
    Promoted,
    Recovered,
    Rejected,
    Requested,
    Restored,
    Restoring,
    Resumed,
    RolledBack,
    Stumbled,
    TakenOver,
    Thawed,
    Touching,
)
from perfagent.workflows.model import Approval, Hold, Phase, Rollout
from perfagent.workflows.moves import (
    calm,
    drifted,
    enter_stage,
    give_up,
    hold,
    look_again,
    observe,
    plan_anew,
    promote,
    record,
    roll_back,
    start,
    thaw,
)

MAX_ATTEMPTS = 8
"""Failures in a row after which patience ends; with the back-off below that is about four minutes."""
LONGEST_BACKOFF_S = 60.0


def begin(rollout_id: str, event: Requested) -> Rollout:
    """The rollout that its first event makes."""
    return Rollout(rollout_id, event.request, created_at_s=event.at_s, updated_at_s=event.at_s)


def fold(rollout_id: str, events: Iterable[Event]) -> Rollout:
    """The rollout that these events have made. Raises `IllegalTransition` where they cannot have happened so."""
    rest = iter(events)
    first = next(rest, None)
    if not isinstance(first, Requested):
        raise IllegalTransition(f"rollout {rollout_id} does not begin with a request")
    rollout = begin(rollout_id, first)
    for event in rest:
        rollout = step(rollout, event)
    return rollout


def repeats(rollout: Rollout, event: Event) -> bool:
    """Whether a person says again what is already so: no error, and nothing to record."""
    match event:
        case Approved(plan_hash=plan_hash):
            return rollout.approval is not None and rollout.approval.plan_hash == plan_hash
        case Rejected():
            return rollout.phase is Phase.REJECTED
        case Aborted():
            return rollout.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        case TakenOver():
            return rollout.phase is Phase.FAILED and bool(rollout.touched)
        case Paused():
            return rollout.phase is Phase.HELD and not rollout.frozen
        case Resumed():
            return rollout.phase in (Phase.ROLLING_OUT, Phase.MONITORING)
        case Promoted():
            widened = rollout.phase is Phase.ROLLING_OUT and rollout.stage > 0
            return widened or (rollout.phase is Phase.COMPLETED and bool(rollout.history))
        case _:
            return False


def step(rollout: Rollout, event: Event) -> Rollout:
    """The rollout after the event. Raises `IllegalTransition` where it does not apply."""
    match event:
        case Stumbled():
            after = _stumbled(rollout, event)
        case Recovered() if rollout.attempts:
            after = calm(rollout)
        case Aborted(at_s, who, why) if rollout.active and rollout.phase is not Phase.ROLLING_BACK:
            after = roll_back(calm(rollout), at_s, f"aborted by {who}: {why}")
        case _:
            after = calm(_BY_PHASE.get(rollout.phase, _nothing_follows)(rollout, event))
    return replace(after, seq=rollout.seq + 1, updated_at_s=event.at_s)


def _pending(rollout: Rollout, event: Event) -> Rollout:
    match event:
        case Planned(at_s, plan):
            planned = replace(rollout, plan=plan)
            if not (plan.needs_approval or rollout.request.requires_approval):
                return start(planned, plan, at_s, plan.description)
            return replace(
                planned,
                phase=Phase.AWAITING_APPROVAL,
                deadline_s=at_s + plan.pace.approval_timeout_s,
                reason=_listed("waiting for a person to approve the plan", plan.asked_for),
            )
        case NothingToDo(_, reason):
            return replace(rollout, phase=Phase.COMPLETED, reason=reason)
        case PlanRefused(_, reason):
            return replace(rollout, phase=Phase.FAILED, reason=reason)
        case _:
            return _nothing_follows(rollout, event)


def _awaiting_approval(rollout: Rollout, event: Event) -> Rollout:
    plan = rollout.planned
    match event:
        case Approved(at_s, who, why, plan_hash):
            approved = replace(rollout, approval=Approval(who, why, at_s, plan_hash))
            return start(approved, plan, at_s, f"approved by {who}: {why}")
        case Rejected(_, who, why):
            return replace(rollout, phase=Phase.REJECTED, deadline_s=None, reason=f"rejected by {who}: {why}")
        case Expired():
            return replace(rollout, phase=Phase.REJECTED, deadline_s=None, reason="nobody approved the plan in time")
        case _:
            return _nothing_follows(rollout, event)


def _rolling_out(rollout: Rollout, event: Event) -> Rollout:
    pace = rollout.planned.pace
    match event:
        case PriorStored(at_s, captured, quiet) if not rollout.captured:
            stored = replace(rollout, captured=captured, captured_at_s=at_s, quiet=quiet)
            return enter_stage(stored, 0, at_s, "every replica's configuration is stored")
        case Outdated(_, reason) if not rollout.captured:
            return plan_anew(rollout, reason)
        case Frozen(_, reason):
            frozen = Hold(reason, Phase.ROLLING_OUT, frozen=True)
            return replace(rollout, phase=Phase.HELD, hold=frozen, deadline_s=None, reason=reason)
        case Answered(at_s, answers, trouble) if rollout.captured and rollout.must_ask_before:
            if not answers:
                return hold(rollout, at_s, Phase.ROLLING_OUT, f"answers could not be asked for: {trouble}")
            return replace(rollout, answers=answers, deadline_s=at_s + pace.ready_timeout_s)
        case Touching(at_s, targets) if _may_touch(rollout, targets):
            touched = (*rollout.touched, *(target for target in targets if target not in rollout.touched))
            return replace(rollout, touched=touched, deadline_s=at_s + pace.ready_timeout_s)
        case Applied(at_s) if rollout.captured and _stage_targets(rollout) <= set(rollout.touched):
            observed_from_s = at_s + pace.warm_up_s
            ready = replace(rollout, applied_at_s=at_s, observed_from_s=observed_from_s)
            return observe(record(ready, applied_at_s=at_s), observed_from_s + pace.monitoring_s, "observing")
        case CanaryLost(at_s, target, reason):
            return roll_back(rollout, at_s, f"{target}: {reason}")
        case Drifted(at_s, edits) if rollout.captured:
            return drifted(rollout, at_s, Phase.ROLLING_OUT, edits)
        case Expired(at_s):
            late = "become ready" if rollout.captured else "show what they do without the change"
            return give_up(rollout, at_s, f"the replicas did not {late} in time")
        case Paused(at_s, who, why):
            return hold(rollout, at_s, Phase.ROLLING_OUT, f"paused by {who}: {why}")
        case _:
            return _nothing_follows(rollout, event)


def _monitoring(rollout: Rollout, event: Event) -> Rollout:
    match event:
        case Probed() if rollout.must_ask:
            return _probed(rollout, event)
        case Judged():
            return _judged(rollout, event)
        case CanaryLost(at_s, target, reason):
            return roll_back(rollout, at_s, f"{target}: {reason}")
        case Drifted(at_s, edits):
            return drifted(rollout, at_s, Phase.MONITORING, edits)
        case Paused(at_s, who, why):
            return hold(rollout, at_s, Phase.MONITORING, f"paused by {who}: {why}")
        case Promoted(at_s, who, why):
            return promote(rollout, at_s, (f"promoted by {who}: {why}",))
        case _:
            return _nothing_follows(rollout, event)


def _probed(rollout: Rollout, event: Probed) -> Rollout:
    """Other answers are held at once, for they are being given; where nobody could be asked, the next look asks again.

    What the asking itself did to the replicas is not observed.
    """
    at_s, quality = event.at_s, event.quality
    probed = record(replace(rollout, asked=True), quality=(*rollout.history[-1].quality, quality))
    if quality.asked and quality.verdict is Verdict.HOLD:
        return hold(probed, at_s, Phase.MONITORING, quality.reason)
    late_s = at_s - (rollout.observed_from_s or at_s)
    if late_s > 0 and rollout.judge_at_s is not None and not rollout.history[-1].looks:
        probed = replace(probed, observed_from_s=at_s, judge_at_s=rollout.judge_at_s + late_s)
    return replace(probed, reason=f"observing; {quality.reason}")


def _judged(rollout: Rollout, event: Judged) -> Rollout:
    pace, at_s, verdict = rollout.planned.pace, event.at_s, event.verdict
    looked = record(replace(rollout, health=event.health), looks=(*rollout.history[-1].looks, verdict))
    least = rollout.request.health_threshold
    if least is not None and event.health is not None and event.health < least:
        return roll_back(looked, at_s, f"the canary's health is {event.health:.0f}, below {least:.0f}")
    decision, reasons, quality = verdict.verdict, verdict.reasons, rollout.history[-1].quality
    if decision is Verdict.PROMOTE and rollout.planned.quality is not None:
        asked = quality[-1].reason if quality else "nobody was asked for answers"
        alike = rollout.history[-1].answers_are_as_before
        decision, reasons = (decision, (*reasons, asked)) if alike else (Verdict.HOLD, (asked,))
    said = "; ".join(reasons)
    match decision:
        case Verdict.ROLL_BACK:
            return roll_back(looked, at_s, said)
        case Verdict.PROMOTE if rollout.request.auto_rollout or rollout.stage + 1 == len(rollout.planned.stages):
            return promote(looked, at_s, reasons)
        case Verdict.PROMOTE:
            return hold(looked, at_s, Phase.MONITORING, f"waiting for a person to promote: {said}")
        case Verdict.HOLD if rollout.extensions < pace.extensions:
            longer = replace(looked, extensions=rollout.extensions + 1)
            return observe(longer, at_s + pace.monitoring_s, f"observing longer: {said}")
        case Verdict.HOLD:
            return hold(looked, at_s, Phase.MONITORING, f"not enough evidence: {said}")


def _held(rollout: Rollout, event: Event) -> Rollout:
    resume = rollout.hold.resume if rollout.hold else None
    match event:
        case Expired(at_s):
            return roll_back(rollout, at_s, f"held for too long ({rollout.reason})")
        case CanaryLost(at_s, target, reason):
            return roll_back(rollout, at_s, f"{target}: {reason}")
        case Drifted(at_s, edits) if rollout.captured and resume is not None:
            return drifted(rollout, at_s, resume, edits)
        case Promoted(at_s, who, why) if resume is Phase.MONITORING:
            return promote(rollout, at_s, (f"promoted by {who}: {why}",))
        case Thawed(at_s) if rollout.frozen:
            return thaw(rollout, at_s)
        case Paused(at_s, who, why) if rollout.frozen:
            return hold(rollout, at_s, Phase.ROLLING_OUT, f"paused by {who}: {why}")
        case Resumed(at_s, who, why) if resume is not None:
            return _resume(rollout, at_s, resume, f"resumed by {who}: {why}")
        case _:
            return _nothing_follows(rollout, event)


def _resume(rollout: Rollout, at_s: float, phase: Phase, reason: str) -> Rollout:
    """Go on after a hold; what somebody else had changed since makes what was seen before no evidence any more."""
    pace, edited = rollout.planned.pace, rollout.hold is not None and rollout.hold.edits is not None
    if phase is Phase.MONITORING and edited:
        observed_from_s = at_s + pace.warm_up_s
        anew = replace(rollout, applied_at_s=at_s, observed_from_s=observed_from_s)
        return observe(anew, observed_from_s + pace.monitoring_s, reason)
    if phase is Phase.MONITORING:
        return observe(rollout, at_s + pace.monitoring_s, reason)
    if rollout.frozen or edited:
        return look_again(rollout, at_s, reason)
    return replace(rollout, phase=phase, hold=None, deadline_s=at_s + pace.ready_timeout_s, reason=reason)


def _rolling_back(rollout: Rollout, event: Event) -> Rollout:
    match event:
        case Restoring(at_s, targets):
            begun = (*rollout.restoring, *(target for target in targets if target not in rollout.restoring))
            return replace(rollout, restoring=begun, restoring_at_s=at_s)
        case Restored(_, targets) if set(targets) <= set(rollout.touched):
            done = (*rollout.restored, *(target for target in targets if target not in rollout.restored))
            return replace(rollout, restored=done)
        case RolledBack(_, unready, left):
            warning = f"; not ready again, look at: {', '.join(unready)}" if unready else ""
            kept = f"; left as somebody else has set them: {', '.join(map(str, left))}" if left else ""
            return replace(rollout, phase=Phase.ROLLED_BACK, left=left, reason=rollout.reason + kept + warning)
        case TakenOver(_, who, why):
            ended = replace(rollout, phase=Phase.FAILED)
            rest = f"not seen restored: {', '.join(ended.unrestored)}" if ended.unrestored else "all were restored"
            trouble = f" ({rollout.trouble})" if rollout.trouble else ""
            return replace(ended, reason=f"{rollout.reason}; taken over by {who}: {why}; {rest}{trouble}")
        case _:
            return _nothing_follows(rollout, event)


_BY_PHASE = {
    Phase.PENDING: _pending,
    Phase.AWAITING_APPROVAL: _awaiting_approval,
    Phase.ROLLING_OUT: _rolling_out,
    Phase.MONITORING: _monitoring,
    Phase.HELD: _held,
    Phase.ROLLING_BACK: _rolling_back,
}


def _stage_targets(rollout: Rollout) -> set[str]:
    return set(rollout.planned.stages[rollout.stage].targets)


def _may_touch(rollout: Rollout, targets: tuple[str, ...]) -> bool:
    """Everything that is held against what comes is on record, and these replicas' turn has come."""
    return bool(rollout.captured) and not rollout.must_ask_before and set(targets) <= _stage_targets(rollout)


def _nothing_follows(rollout: Rollout, event: Event) -> Rollout:
    raise IllegalTransition(f"{type(event).__name__} does not apply to a rollout that is {rollout.phase}")


def _stumbled(rollout: Rollout, event: Stumbled) -> Rollout:
    if not rollout.active or rollout.phase is Phase.AWAITING_APPROVAL:
        return _nothing_follows(rollout, event)
    attempts = rollout.attempts + 1
    if attempts >= MAX_ATTEMPTS and rollout.phase in (Phase.PENDING, Phase.ROLLING_OUT, Phase.MONITORING):
        return calm(give_up(rollout, event.at_s, f"gave up after {attempts} attempts: {event.reason}"))
    wait_s = min(LONGEST_BACKOFF_S, 2.0**attempts)
    return replace(rollout, attempts=attempts, retry_at_s=event.at_s + wait_s, trouble=event.reason)


def _listed(what: str, reasons: tuple[str, ...]) -> str:
    return f"{what}: {'; '.join(reasons)}" if reasons else what
