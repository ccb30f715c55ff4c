import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.errors import IllegalTransition
from perfagent.domain.freeze import Weekly
from perfagent.domain.policy import Policy
from perfagent.domain.verdict import Verdict
from perfagent.workflows.due import due
from perfagent.workflows.events import (
    Aborted,
    Answered,
    Applied,
    Apply,
    Approved,
    AskBefore,
    CapturePrior,
    DraftPlan,
    Drifted,
    Event,
    Expire,
    Expired,
    Frozen,
    Judge,
    Judged,
    Outdated,
    Paused,
    Planned,
    PriorStored,
    Probe,
    Probed,
    Promoted,
    Recovered,
    Rejected,
    Requested,
    Restore,
    Restored,
    Restoring,
    Resumed,
    RolledBack,
    Stumbled,
    TakenOver,
    Thawed,
    Touching,
    Watch,
)
from perfagent.workflows.machine import MAX_ATTEMPTS, begin, fold, repeats, step
from perfagent.workflows.model import Edit, Phase, Plan, Request, Rollout
from support.rollout_events import (
    ANSWER,
    AS_BEFORE,
    ASKING_PLAN,
    CAPTURED,
    IDS,
    NOT_AS_BEFORE,
    PLAN,
    UNASKED,
    judged,
    story_events,
)
from support.rollouts import BEFORE, World, max_num_seqs, request, service

REQUESTED = Requested(0.0, Request("chat", "ann"))
ASKING = Requested(0.0, Request("chat", "ann", requires_approval=True))
TO_MONITORING = (REQUESTED, Planned(1.0, PLAN), PriorStored(2.0, CAPTURED), Touching(3.0, ("a",)), Applied(10.0))


def at(*events: Event) -> Rollout:
    return fold("r1", events)


def expected_next(rollout: Rollout, plan: Plan) -> Event | None:
    """What comes of what is due when all goes well."""
    match due(rollout, rollout.judge_at_s or 0.0):
        case DraftPlan():
            return Planned(0.0, plan)
        case CapturePrior():
            return PriorStored(0.0, CAPTURED)
        case AskBefore():
            return Answered(0.0, ((ANSWER, ANSWER),))
        case Apply(targets):
            fresh = tuple(target for target in targets if target not in rollout.touched)
            return Touching(0.0, fresh[:1]) if fresh else Applied(0.0)
        case Probe():
            return Probed(0.0, AS_BEFORE)
        case Judge():
            return judged(Verdict.PROMOTE)
        case Watch() if rollout.frozen:
            return Thawed(0.0)
        case Restore(targets):
            if set(targets) != set(rollout.restoring):
                return Restoring(0.0, targets)
            return Restored(0.0, targets) if set(targets) != set(rollout.restored) else RolledBack(0.0, ())
        case _:
            return Approved(0.0, "ann", "fine", plan.hash)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Event, ...]:
    """Events that could be in a journal: mostly what is due, now and then anything else that applies."""
    rollout = begin("r1", draw(st.sampled_from([REQUESTED, ASKING])))
    plan = draw(st.sampled_from([PLAN, ASKING_PLAN]))
    events: list[Event] = [Requested(0.0, rollout.request)]
    for _ in range(draw(st.integers(0, 30))):
        usual = expected_next(rollout, plan)
        event = draw(story_events) if usual is None or draw(st.integers(0, 4)) == 0 else usual
        with suppress(IllegalTransition):
            rollout = step(rollout, event)
            events.append(event)
    return tuple(events)


def along(events: tuple[Event, ...]) -> list[tuple[Rollout, Event, Rollout]]:
    """Each event with the rollout before and after it."""
    first, *rest = events
    assert isinstance(first, Requested)
    rollout, steps = begin("r1", first), []
    for event in rest:
        after = step(rollout, event)
        steps.append((rollout, event, after))
        rollout = after
    return steps


@given(histories())
def test_the_share_widens_only_after_a_promote(events: tuple[Event, ...]) -> None:
    for before, event, after in along(events):
        promoted = isinstance(event, Promoted) or (
            isinstance(event, Judged) and event.verdict.verdict is Verdict.PROMOTE
        )
        assert after.stage == before.stage or promoted
        assert after.plan is None or set(after.touched) <= set(after.plan.stages[after.stage].targets)


@given(histories())
def test_nothing_is_complete_without_a_promote_for_every_stage(events: tuple[Event, ...]) -> None:
    rollout = fold("r1", events)
    if rollout.phase is Phase.COMPLETED and rollout.plan is not None:
        assert [record.verdict for record in rollout.history] == [Verdict.PROMOTE] * len(rollout.plan.stages)
        assert set(rollout.touched) == set(IDS)


@given(histories())
def test_no_stage_is_promoted_by_the_judge_while_its_answers_are_not_proven_to_be_as_before(
    events: tuple[Event, ...],
) -> None:
    for before, event, after in along(events):
        if isinstance(event, Judged) and before.planned.quality is not None and before.history != after.history:
            assert after.history[before.stage].verdict is not Verdict.PROMOTE or any(
                said == AS_BEFORE for said in before.history[-1].quality[-1:]
            )


@given(histories())
def test_nothing_is_touched_before_answers_to_hold_against_are_on_record(events: tuple[Event, ...]) -> None:
    for _, _, after in along(events):
        assert not after.touched or after.planned.quality is None or after.answers


@given(histories())
def test_nothing_is_touched_before_it_is_stored_and_what_was_touched_stays_known(events: tuple[Event, ...]) -> None:
    for before, _, after in along(events):
        assert not after.touched or {stored.target for stored in after.captured} == set(IDS)
        assert after.touched[: len(before.touched)] == before.touched


@given(histories())
def test_what_was_touched_is_never_left_behind_by_a_failure_but_for_who_takes_over(events: tuple[Event, ...]) -> None:
    rollout = fold("r1", events)
    if rollout.phase in (Phase.FAILED, Phase.REJECTED):
        assert bool(rollout.touched) is isinstance(events[-1], TakenOver)
        assert set(rollout.unrestored) == set(rollout.touched) - set(rollout.restored)
    if rollout.phase is Phase.ROLLED_BACK:
        restored = any(isinstance(event, RolledBack) for event in events)
        assert restored == bool(rollout.touched)


@given(histories())
def test_a_rollback_ends_only_when_it_is_done_or_taken_over(events: tuple[Event, ...]) -> None:
    for before, event, after in along(events):
        if before.phase is Phase.ROLLING_BACK and after.phase is not Phase.ROLLING_BACK:
            assert isinstance(event, RolledBack | TakenOver)
        assert set(after.restored) <= set(after.touched)
        assert after.restored[: len(before.restored)] == before.restored


@given(histories(), st.sampled_from([Approved, Rejected, Paused, Resumed, Promoted, Aborted, TakenOver]))
def test_whatever_a_person_says_may_be_said_twice(events: tuple[Event, ...], kind: type) -> None:
    rollout = fold("r1", events)
    more = (PLAN.hash,) if kind is Approved else ()
    word = kind(0.0, "ann", "so be it", *more)
    try:
        after = step(rollout, word)
    except IllegalTransition:
        return
    assert repeats(after, word)


@given(histories(), story_events)
def test_nothing_follows_an_end(events: tuple[Event, ...], event: Event) -> None:
    rollout = fold("r1", events)
    if not rollout.active:
        assert due(rollout, 1e12) is None
        with pytest.raises(IllegalTransition):
            step(rollout, event)


@given(histories())
def test_from_every_phase_that_is_no_end_abort_leads_back(events: tuple[Event, ...]) -> None:
    rollout = fold("r1", events)
    abort = Aborted(0.0, "ann", "enough")
    if rollout.active and not repeats(rollout, abort):
        after = step(rollout, abort)
        assert after.phase is (Phase.ROLLING_BACK if rollout.touched else Phase.ROLLED_BACK)
        assert repeats(after, abort)


@given(histories(), st.floats(0, 1e12))
def test_a_freeze_lets_nothing_be_changed_and_never_ends_in_a_rollback_by_itself(
    events: tuple[Event, ...], at_s: float
) -> None:
    rollout = fold("r1", events)
    if rollout.frozen:
        assert due(rollout, at_s) == Watch()
        with pytest.raises(IllegalTransition):
            step(rollout, Touching(0.0, ("a",)))


@given(histories())
def test_every_event_has_its_own_number(events: tuple[Event, ...]) -> None:
    assert fold("r1", events).seq == len(events)


def test_a_rollback_goes_on_until_it_is_done_and_listens_to_nobody() -> None:
    rollout = at(*TO_MONITORING, Aborted(11.0, "ann", "enough"))
    for event in (
        Paused(12.0, "eve", ""),
        Promoted(12.0, "eve", ""),
        Resumed(12.0, "eve", ""),
        judged(Verdict.PROMOTE),
    ):
        with pytest.raises(IllegalTransition):
            step(rollout, event)
    for attempt in range(50):
        rollout = step(rollout, Stumbled(20.0 + attempt, "no connection"))
    assert due(rollout, 1e6) == Restore(("a",))


def test_who_takes_a_rollback_over_is_told_what_is_left() -> None:
    promoted = at(*TO_MONITORING, judged(Verdict.PROMOTE, at_s=700.0), Touching(701.0, ("b",)))
    back = step(step(promoted, Aborted(702.0, "ann", "enough")), Restored(703.0, ("a",)))
    assert back.fleet_percent == 25.0
    stuck = step(back, Stumbled(704.0, "b: no connection"))
    word = TakenOver(705.0, "bob", "its machine burnt down")
    over = step(stuck, word)
    assert (over.phase, over.unrestored) == (Phase.FAILED, ("b",))
    assert over.reason == (
        "aborted by ann: enough; taken over by bob: its machine burnt down; not seen restored: b (b: no connection)"
    )
    assert not over.active
    with pytest.raises(IllegalTransition):
        step(promoted, word)


def test_failures_are_tried_again_later_and_later_but_at_least_every_minute() -> None:
    rollout = at(*TO_MONITORING, Aborted(11.0, "ann", "enough"))
    waits = []
    for _ in range(MAX_ATTEMPTS):
        rollout = step(rollout, Stumbled(100.0, "no connection"))
        waits.append(rollout.retry_at_s - 100)
        assert due(rollout, rollout.retry_at_s - 0.1) is None
        assert due(rollout, rollout.retry_at_s) is not None
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_patience_ends_where_nothing_would_be_lost() -> None:
    for events, phase in (
        ((REQUESTED,), Phase.FAILED),
        ((REQUESTED, Planned(1.0, PLAN)), Phase.FAILED),
        (TO_MONITORING, Phase.ROLLING_BACK),
        ((*TO_MONITORING, Paused(11.0, "ann", "")), Phase.HELD),
    ):
        stumbles = [Stumbled(20.0 + k, "no connection") for k in range(MAX_ATTEMPTS)]
        assert at(*events, *stumbles).phase is phase


def test_a_success_ends_a_row_of_failures() -> None:
    stumbling = at(*TO_MONITORING, Stumbled(11.0, "no connection"))
    assert (stumbling.attempts, stumbling.trouble) == (1, "no connection")
    calm = step(stumbling, Recovered(12.0))
    assert (calm.attempts, calm.trouble, calm.retry_at_s) == (0, "", 0.0)
    with pytest.raises(IllegalTransition):
        step(calm, Recovered(13.0))


def test_a_journal_begins_with_a_request() -> None:
    with pytest.raises(IllegalTransition, match="does not begin"):
        at()
    with pytest.raises(IllegalTransition, match="does not begin"):
        at(Applied(0.0))
    with pytest.raises(IllegalTransition, match="Requested does not apply"):
        at(REQUESTED, REQUESTED)


def test_what_is_due_while_it_is_observed() -> None:
    rollout = at(*TO_MONITORING)
    assert rollout.judge_at_s == 10.0 + 60.0 + 600.0
    assert due(rollout, 669.9) == Watch()
    assert due(rollout, 670.0) == Judge()


def test_what_is_due_while_a_person_is_waited_for() -> None:
    asking = at(ASKING, Planned(1.0, PLAN))
    assert due(asking, 86_400.9) is None
    assert due(asking, 86_401.0) == Expire()
    held = at(*TO_MONITORING, Paused(20.0, "ann", "lunch"))
    assert due(held, 86_419.9) == Watch()
    assert due(held, 86_420.0) == Expire()
    by_hand = at(REQUESTED, Planned(1.0, replace(PLAN, actuator="none")))
    assert due(by_hand, 2.0) is None


TO_FREEZE = (ASKING, Planned(1.0, PLAN), Approved(10.0, "ann", "fine", PLAN.hash), Frozen(11.0, "frozen until noon"))


def test_a_freeze_is_waited_for_and_then_everything_is_looked_at_again() -> None:
    frozen = at(*TO_FREEZE)
    assert (frozen.phase, frozen.reason, frozen.deadline_s) == (Phase.HELD, "frozen until noon", None)
    thawed = step(frozen, Thawed(1000.0))
    assert (thawed.phase, thawed.reason) == (Phase.ROLLING_OUT, "the freeze is over")
    assert due(thawed, 1000.0) == CapturePrior()
    stored = at(REQUESTED, Planned(1.0, PLAN), PriorStored(2.0, CAPTURED), Frozen(3.0, "frozen until noon"))
    again = step(stored, Thawed(1000.0))
    assert (again.captured, again.history) == ((), ())
    assert due(again, 1000.0) == CapturePrior()


def test_a_stage_begins_when_the_freeze_before_it_is_over() -> None:
    promoted = at(*TO_MONITORING, judged(Verdict.PROMOTE, at_s=700.0), Frozen(700.0, "frozen until noon"))
    assert step(promoted, Thawed(4000.0)).history[-1].started_at_s == 4000.0
    begun = at(*TO_MONITORING, judged(Verdict.PROMOTE, at_s=700.0), Touching(701.0, ("b",)))
    wide = replace(PLAN, stages=(PLAN.stages[0], PLAN.stages[2]))
    begun = replace(begun, plan=wide)
    assert step(step(begun, Frozen(702.0, "")), Thawed(4000.0)).history[-1].started_at_s == 700.0


def test_an_approval_does_not_outlast_a_freeze_for_longer_than_it_counts() -> None:
    frozen = at(*TO_FREEZE)
    lapsed_s = 10.0 + PLAN.pace.approval_timeout_s
    assert step(frozen, Thawed(lapsed_s - 0.1)).approval is not None
    anew = step(frozen, Thawed(lapsed_s))
    assert (anew.phase, anew.plan, anew.approval) == (Phase.PENDING, None, None)
    assert anew.reason == "planned anew: ann's approval ran out during the freeze"
    assert step(anew, Planned(lapsed_s, PLAN)).phase is Phase.AWAITING_APPROVAL
    resume = Resumed(lapsed_s, "bob", "now")
    assert repeats(step(frozen, resume), resume)


def test_who_pauses_in_a_freeze_is_waited_for_when_it_is_over() -> None:
    pause = Paused(20.0, "bob", "lunch")
    frozen = at(*TO_FREEZE)
    assert not repeats(frozen, pause)
    paused = step(frozen, pause)
    assert (paused.phase, paused.reason, paused.frozen) == (Phase.HELD, "paused by bob: lunch", False)
    with pytest.raises(IllegalTransition):
        step(paused, Thawed(1000.0))


EDIT = Edit("b", "max_num_seqs is 32, not 8")


def test_what_was_seen_before_somebody_elses_change_is_no_evidence_after_it() -> None:
    drifted = at(*TO_MONITORING, Drifted(300.0, (EDIT,)))
    assert (drifted.phase, drifted.edits) == (Phase.HELD, (EDIT,))
    for held in (drifted, step(drifted, Drifted(400.0, ()))):
        resumed = step(held, Resumed(1000.0, "bob", "put back"))
        assert (resumed.phase, resumed.observed_from_s, resumed.judge_at_s) == (Phase.MONITORING, 1060.0, 1660.0)
    paused = step(at(*TO_MONITORING, Paused(300.0, "bob", "lunch")), Resumed(1000.0, "bob", "back"))
    assert (paused.observed_from_s, paused.judge_at_s) == (70.0, 1600.0)


def test_before_anything_was_touched_somebody_elses_change_is_stored_too() -> None:
    stored = at(REQUESTED, Planned(1.0, PLAN), PriorStored(2.0, CAPTURED), Drifted(3.0, (EDIT,)))
    resumed = step(stored, Resumed(10.0, "bob", "meant so"))
    assert due(resumed, 10.0) == CapturePrior()


def test_somebody_elses_change_does_not_prolong_a_hold_but_gives_a_frozen_one_an_end() -> None:
    paused = at(*TO_MONITORING, Paused(300.0, "bob", "lunch"))
    assert step(paused, Drifted(400.0, (EDIT,))).deadline_s == paused.deadline_s
    frozen = at(*TO_MONITORING, judged(Verdict.PROMOTE, at_s=700.0), Frozen(700.0, ""))
    assert step(frozen, Drifted(800.0, (EDIT,))).deadline_s == 800.0 + PLAN.pace.hold_timeout_s


def test_a_plan_that_is_out_of_date_needs_its_approval_anew() -> None:
    approved = at(*TO_FREEZE[:-1])
    anew = step(approved, Outdated(11.0, "b is started otherwise"))
    assert (anew.phase, anew.plan, anew.approval) == (Phase.PENDING, None, None)
    asked = step(anew, Planned(12.0, PLAN))
    assert asked.phase is Phase.AWAITING_APPROVAL
    assert not repeats(asked, Approved(13.0, "ann", "fine", PLAN.hash))
    with pytest.raises(IllegalTransition):
        step(at(REQUESTED, Planned(1.0, PLAN), PriorStored(2.0, CAPTURED)), Outdated(3.0, ""))


def test_an_extended_stage_keeps_its_first_observation() -> None:
    longer = at(*TO_MONITORING, judged(Verdict.HOLD, at_s=670.0))
    assert (longer.phase, longer.observed_from_s, longer.judge_at_s) == (Phase.MONITORING, 70.0, 1270.0)
    assert longer.reason == "observing longer: because"


def test_every_stage_may_be_extended_anew() -> None:
    extended = at(*TO_MONITORING, judged(Verdict.HOLD, at_s=670.0))
    assert extended.extensions == 1
    assert step(extended, judged(Verdict.PROMOTE, at_s=1270.0)).extensions == 0


def test_a_stage_that_nobody_promoted_has_no_verdict_yet() -> None:
    held = at(*TO_MONITORING, *(judged(Verdict.HOLD, at_s=700.0 + k) for k in range(3)))
    assert held.phase is Phase.HELD
    assert (held.history[-1].verdict, len(held.history[-1].looks)) == (None, 3)
    promoted = step(held, Promoted(800.0, "ann", "I know why"))
    assert promoted.history[0].verdict is Verdict.PROMOTE
    assert promoted.history[0].reasons == ("promoted by ann: I know why",)


ASKED_BEFORE = Answered(2.5, ((ANSWER, ANSWER),))
TO_ASKING = (REQUESTED, Planned(1.0, ASKING_PLAN), PriorStored(2.0, CAPTURED))
TO_PROBING = (*TO_ASKING, ASKED_BEFORE, Touching(3.0, ("a",)), Applied(10.0))


def test_a_plan_that_may_alter_answers_asks_before_and_after_each_stage_is_applied() -> None:
    assert due(at(*TO_ASKING), 3.0) == AskBefore()
    assert due(at(*TO_ASKING, ASKED_BEFORE), 3.0) == Apply(("a",))
    assert due(at(*TO_PROBING), 11.0) == Probe(("a",))
    asked = at(*TO_PROBING, Probed(12.0, AS_BEFORE))
    assert (asked.phase, due(asked, 13.0)) == (Phase.MONITORING, Watch())
    assert asked.reason == "observing; answers are as before"
    widened = step(asked, judged(Verdict.PROMOTE, at_s=700.0))
    ready = step(step(widened, Touching(701.0, ("b",))), Applied(702.0))
    assert due(ready, 703.0) == Probe(("a", "b"))


def test_answers_from_before_a_freeze_are_asked_for_again_after_it() -> None:
    """Servers may have been set otherwise meanwhile, or the plan be another one."""
    approved = (ASKING, Planned(1.0, ASKING_PLAN), Approved(2.0, "ann", "fine", ASKING_PLAN.hash))
    frozen = at(*approved, PriorStored(3.0, CAPTURED), replace(ASKED_BEFORE, at_s=4.0), Frozen(5.0, "until noon"))
    assert step(frozen, Thawed(1000.0)).answers == ()
    lapsed = step(frozen, Thawed(2.0 + ASKING_PLAN.pace.approval_timeout_s))
    assert (lapsed.phase, lapsed.answers) == (Phase.PENDING, ())


def test_nobody_is_asked_where_the_change_alters_no_answers() -> None:
    assert due(at(*TO_MONITORING), 11.0) == Watch()
    for events in ((*TO_MONITORING[:3], ASKED_BEFORE), (*TO_MONITORING, Probed(12.0, AS_BEFORE))):
        with pytest.raises(IllegalTransition):
            at(*events)


def test_nothing_is_touched_while_nobody_could_be_asked() -> None:
    held = at(*TO_ASKING, Answered(3.0, (), "answered 401"))
    assert (held.phase, held.reason) == (Phase.HELD, "answers could not be asked for: answered 401")
    resumed = step(held, Resumed(100.0, "ann", "the key is right now"))
    assert due(resumed, 101.0) == AskBefore()
    assert step(held, Expired(1e6)).phase is Phase.ROLLED_BACK
    with pytest.raises(IllegalTransition):
        step(resumed, Touching(101.0, ("a",)))


def test_other_answers_are_held_at_once_and_a_person_decides() -> None:
    held = at(*TO_PROBING, Probed(12.0, NOT_AS_BEFORE))
    assert (held.phase, held.reason) == (Phase.HELD, "answers are not as before")
    assert due(step(held, Resumed(20.0, "ann", "look again")), 21.0) == Probe(("a",))
    assert step(held, Promoted(20.0, "ann", "they are as good")).stage == 1
    assert step(held, Aborted(20.0, "ann", "they are bad")).phase is Phase.ROLLING_BACK


def test_answers_that_could_not_be_asked_for_are_asked_for_again_at_every_look_and_then_held() -> None:
    rollout = at(*TO_PROBING, Probed(12.0, UNASKED))
    assert due(rollout, 13.0) == Watch()
    for look in range(2):
        assert due(rollout, 1e6) == Judge()
        rollout = step(rollout, judged(Verdict.PROMOTE, at_s=700.0 + look))
        assert rollout.reason == "observing longer: answers could not be asked for: 500"
        assert due(rollout, 701.0) == Probe(("a",))
        rollout = step(rollout, Probed(702.0 + look, UNASKED))
    held = step(rollout, judged(Verdict.PROMOTE, at_s=2000.0))
    assert (held.phase, held.reason) == (Phase.HELD, "not enough evidence: answers could not be asked for: 500")
    assert len(held.history[0].quality) == 3


def test_answers_proven_once_in_a_stage_are_not_asked_for_again() -> None:
    longer = at(*TO_PROBING, Probed(12.0, AS_BEFORE), judged(Verdict.HOLD, at_s=700.0))
    assert due(longer, 701.0) == Watch()
    assert step(longer, judged(Verdict.PROMOTE, at_s=1300.0)).stage == 1


def test_harm_is_rolled_back_whatever_the_answers() -> None:
    assert at(*TO_PROBING, Probed(12.0, AS_BEFORE), judged(Verdict.ROLL_BACK)).phase is Phase.ROLLING_BACK


def test_the_observation_begins_when_the_asking_is_over() -> None:
    """Questions are requests too: what they do to a replica is not what the change does."""
    early, late = (at(*TO_PROBING, Probed(at_s, AS_BEFORE)) for at_s in (69.0, 100.0))
    assert (early.observed_from_s, early.judge_at_s) == (70.0, 670.0)
    assert (late.observed_from_s, late.judge_at_s) == (100.0, 700.0)
    again = step(at(*TO_PROBING, Probed(69.0, UNASKED), judged(Verdict.HOLD, at_s=670.0)), Probed(800.0, AS_BEFORE))
    assert (again.observed_from_s, again.judge_at_s) == (70.0, 1270.0)


class _Story:
    """Draws what befalls a rollout before somebody aborts it."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.world = World(service(3), start_delay_s=self.draw(st.sampled_from([0.0, 15.0])))

    async def told(self) -> tuple[Rollout, Rollout]:
        world = self.world
        world.fleet.slowness = self.draw(
            st.sampled_from([lambda _: 1.0, lambda config: 2.0 if max_num_seqs(config) == 64 else 1.0])
        )
        await world.warm_up(100)
        manager = world.manager()
        rollout = manager.create(request(requires_approval=self.draw(st.booleans()), monitoring_s=100.0))
        verbs = (manager.pause, manager.resume, manager.promote, manager.approve)
        for _ in range(self.draw(st.integers(0, 12))):
            await manager.tick()
            if self.draw(st.integers(0, 4)) == 0:
                always = self.draw(st.sampled_from([(), (Weekly(),)]))
                world.register(replace(world.service, policy=Policy(freezes=always)))
            if self.draw(st.integers(0, 3)) == 0:
                with suppress(IllegalTransition):
                    self.draw(st.sampled_from(verbs))(rollout.id, "ann", "so be it")
            await world.pass_time(self.draw(st.sampled_from([10.0, 60.0])))
        if self.draw(st.booleans()):
            manager = world.manager()
        before = manager.get(rollout.id)
        if before.active:
            manager.abort(rollout.id, "ann", "enough")
        return before, await world.run(manager, rollout.id)


@given(st.data())
def test_from_every_phase_abort_restores_every_replica(data: st.DataObject) -> None:
    story = _Story(data)
    before, ended = asyncio.run(story.told())
    if before.active:
        assert ended.phase is Phase.ROLLED_BACK
        assert set(story.world.fleet.configs.values()) == {BEFORE}
