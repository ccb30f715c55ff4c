"""Whole rollouts on a fleet that really restarts, with a virtual clock."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from perfagent.api.rollouts import LONGEST_MONITORING_S
from perfagent.domain.errors import (
    BadAnswer,
    Conflict,
    IllegalTransition,
    InvalidInput,
    LeaseLost,
    NotFound,
    Unreachable,
)
from perfagent.domain.freeze import Period
from perfagent.domain.knob import Knob, LaunchConfig
from perfagent.domain.policy import Policy
from perfagent.domain.share import Share
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.domain.verdict import Verdict
from perfagent.store.memory import MemoryHistory, MemoryJournal, MemoryLease
from perfagent.workflows.events import (
    Aborted,
    Approved,
    Judged,
    Outdated,
    Planned,
    Recovered,
    Requested,
    Stumbled,
    Touching,
)
from perfagent.workflows.leadership import LEASE_S, Fenced, Leadership
from perfagent.workflows.machine import LONGEST_BACKOFF_S
from perfagent.workflows.manager import LOOK_S
from perfagent.workflows.model import Pace, Phase, Rollout
from support.rollouts import BEFORE, MORE_AT_ONCE, START_S, World, max_num_seqs, request, service


def harmful(world: World) -> None:
    """From now on the change doubles every latency."""
    world.fleet.slowness = lambda config: 2.0 if max_num_seqs(config) == 64 else 1.0


async def started(world: World, until: Phase, **asked: object) -> Rollout:
    """A rollout after a quiet past, run up to a phase, on a manager that the world remembers."""
    await world.warm_up()
    manager = world.manager()
    rollout = manager.create(request(**asked))  # type: ignore[arg-type]
    return await world.run(manager, rollout.id, until=lambda r: r.phase is until)


async def test_a_good_change_goes_through_every_stage_to_the_whole_fleet() -> None:
    world = World(service(10))
    ended = await started(world, Phase.COMPLETED)
    assert {max_num_seqs(config) for config in world.fleet.configs.values()} == {64}
    assert [(r.percent, len(r.targets), r.verdict) for r in ended.history] == [
        (10, 1, Verdict.PROMOTE),
        (50, 5, Verdict.PROMOTE),
        (100, 10, Verdict.PROMOTE),
    ]
    assert all(record.reasons and record.looks and record.ended_at_s for record in ended.history)
    assert ended.health == 80.0
    assert world.fleet.most_down == 1


async def test_a_harmful_change_is_stopped_at_the_first_replica_and_restored_byte_for_byte() -> None:
    world = World(service(10))
    harmful(world)
    ended = await started(world, Phase.ROLLED_BACK)
    assert set(world.fleet.configs.values()) == {BEFORE}
    assert ended.touched == ("chat-0",)
    assert ended.history[-1].verdict is Verdict.ROLL_BACK
    assert "ttft_s: 100.0% longer" in ended.reason


async def test_what_shows_its_harm_only_at_the_whole_fleet_is_rolled_back_a_few_at_a_time() -> None:
    world = World(service(10))
    monitoring = await started(world, Phase.MONITORING)
    manager = world.manager()
    await world.run(manager, monitoring.id, until=lambda r: r.stage == 2 and r.phase is Phase.MONITORING)
    harmful(world)
    ended = await world.run(manager, monitoring.id)
    assert ended.phase is Phase.ROLLED_BACK
    assert set(world.fleet.configs.values()) == {BEFORE}
    assert world.fleet.most_down == 1


async def test_a_single_replica_is_compared_with_its_own_past_in_every_stage() -> None:
    world = World(service(1))
    ended = await started(world, Phase.COMPLETED)
    assert [(r.percent, r.actual_percent) for r in ended.history] == [(10, 100), (50, 100), (100, 100)]
    assert len(world.fleet.applied) == 1


async def test_a_single_replica_is_first_observed_without_the_change() -> None:
    world = World(service(1))
    manager = world.manager()
    rollout = manager.create(request(monitoring_s=300.0))
    touched = await world.run(manager, rollout.id, until=lambda r: bool(r.touched))
    assert 570 <= touched.updated_at_s - START_S <= 610
    assert (await world.run(manager, rollout.id)).phase is Phase.COMPLETED


async def test_the_longest_observation_that_callers_may_ask_for_leaves_a_single_replica_its_past() -> None:
    world = World(service(1), scrape_s=60.0)
    await world.warm_up(LONGEST_MONITORING_S)
    manager = world.manager()
    rollout = manager.create(request(monitoring_s=LONGEST_MONITORING_S))
    ended = await world.run(manager, rollout.id, tick_s=60.0)
    assert ended.phase is Phase.COMPLETED, ended.reason


async def test_a_single_replica_that_shows_nothing_is_not_touched() -> None:
    world = World(service(1))
    manager = world.manager()
    world.fleet.unscraped = {"chat-0"}
    ended = await world.run(manager, manager.create(request()).id)
    assert ended.phase is Phase.FAILED
    assert ended.reason == (
        "the replicas did not show what they do without the change in time; nothing had been changed"
    )
    assert world.fleet.applied == []


async def test_a_single_replica_with_a_harmful_change_is_rolled_back() -> None:
    world = World(service(1))
    harmful(world)
    await started(world, Phase.ROLLED_BACK)
    assert world.fleet.configs == {"chat-0": BEFORE}


async def test_nothing_is_touched_before_a_person_agrees() -> None:
    world = World()
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    manager = world.manager()
    await world.pass_time(600)
    await manager.tick()
    assert world.fleet.applied == []
    approved = manager.approve(waiting.id, "bob", "looks right")
    assert approved.approval is not None
    assert approved.approval.who == "bob"
    assert approved.approval.plan_hash == approved.planned.hash
    manager.approve(waiting.id, "bob", "said twice")
    assert sum(isinstance(event, Approved) for _, event in manager.events(waiting.id)) == 1
    assert (await world.run(manager, waiting.id)).phase is Phase.COMPLETED


async def test_an_approval_of_another_plan_is_refused() -> None:
    world = World()
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    with pytest.raises(IllegalTransition, match="another plan"):
        world.manager().approve(waiting.id, "bob", "stale", plan_hash="0" * 64)


async def test_an_approval_still_holds_when_a_release_later_a_plan_says_more() -> None:
    world = World(service(policy=Policy(max_unready=2)))
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    world.manager().approve(waiting.id, "bob", "looks right")
    older = MemoryJournal(world.held)  # of a release that did not know how many may be down at a time
    for seq, at_s, kind, body in world.journal.events(waiting.id):
        older.append(waiting.id, seq, at_s, kind, body.replace(',"max_unready":2', ""))
    assert older.events(waiting.id) != world.journal.events(waiting.id)
    world.journal = older
    assert (await world.run(world.manager(), waiting.id)).phase is Phase.COMPLETED


async def test_a_change_that_may_alter_answers_waits_for_approval_by_itself() -> None:
    waiting = await started(World(), Phase.AWAITING_APPROVAL, change={Knob.KV_CACHE_DTYPE: "fp8"})
    assert waiting.planned.risks == ("kv_cache_dtype may alter answers",)


async def test_a_rejected_plan_touches_nothing() -> None:
    world = World()
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    manager = world.manager()
    assert manager.reject(waiting.id, "bob", "not today").phase is Phase.REJECTED
    assert manager.reject(waiting.id, "bob", "again").reason == "rejected by bob: not today"
    assert world.fleet.applied == []


async def test_an_approval_that_nobody_gives_expires() -> None:
    world = World()
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    await world.clock.sleep(waiting.planned.pace.approval_timeout_s)
    assert (await world.run(world.manager(), waiting.id)).phase is Phase.REJECTED


async def test_abort_before_anything_was_touched_ends_at_once() -> None:
    world = World()
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    aborted = world.manager().abort(waiting.id, "bob", "changed my mind")
    assert aborted.phase is Phase.ROLLED_BACK
    assert aborted.reason == "aborted by bob: changed my mind; nothing had been changed"


async def test_abort_in_mid_rollout_restores_what_was_touched() -> None:
    world = World(service(10))
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    await world.run(manager, rollout.id, until=lambda r: len(r.touched) == 3)
    assert manager.abort(rollout.id, "bob", "enough").phase is Phase.ROLLING_BACK
    assert manager.abort(rollout.id, "bob", "enough, I say").phase is Phase.ROLLING_BACK
    ended = await world.run(manager, rollout.id)
    assert ended.phase is Phase.ROLLED_BACK
    assert set(world.fleet.configs.values()) == {BEFORE}
    assert {target for target, _ in world.fleet.applied} == {"chat-0", "chat-1", "chat-2"}
    with pytest.raises(IllegalTransition):
        manager.resume(rollout.id, "bob", "come back")


async def test_a_rollback_cannot_be_paused() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    manager.abort(rollout.id, "bob", "enough")
    with pytest.raises(IllegalTransition):
        manager.pause(rollout.id, "eve", "wait")


async def test_a_paused_rollout_waits_and_then_goes_on_where_it_was() -> None:
    world = World(service(10))
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    manager.pause(rollout.id, "bob", "lunch")
    manager.pause(rollout.id, "bob", "lunch")
    await world.run(manager, rollout.id, until=lambda r: r.updated_at_s + 3600 < world.clock.now())
    assert manager.get(rollout.id).phase is Phase.HELD
    assert manager.get(rollout.id).reason == "paused by bob: lunch"
    assert len(world.fleet.applied) == 1
    assert manager.resume(rollout.id, "bob", "back").phase is Phase.MONITORING
    assert (await world.run(manager, rollout.id)).phase is Phase.COMPLETED


async def test_a_pause_while_replicas_change_lets_no_further_one_change() -> None:
    world = World(service(10))
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    await world.run(manager, rollout.id, until=lambda r: len(r.touched) == 3)
    manager.pause(rollout.id, "bob", "lunch")
    for _ in range(30):
        await manager.tick()
        await world.pass_time(10)
    assert manager.get(rollout.id).touched == ("chat-0", "chat-1", "chat-2")
    with pytest.raises(IllegalTransition):
        manager.promote(rollout.id, "bob", "the stage is not even applied")
    assert manager.resume(rollout.id, "bob", "back").phase is Phase.ROLLING_OUT
    assert (await world.run(manager, rollout.id)).phase is Phase.COMPLETED


async def test_a_rollout_that_nobody_resumes_is_rolled_back() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    manager.pause(rollout.id, "bob", "lunch")
    await world.clock.sleep(rollout.planned.pace.hold_timeout_s)
    ended = await world.run(manager, rollout.id)
    assert ended.phase is Phase.ROLLED_BACK
    assert ended.reason == "held for too long (paused by bob: lunch)"


async def test_without_auto_rollout_a_person_promotes_every_stage_but_the_last() -> None:
    world = World(service(10))
    held = await started(world, Phase.HELD, auto_rollout=False)
    manager = world.manager()
    assert held.reason.startswith("waiting for a person to promote: ttft_s")
    manager.promote(held.id, "bob", "fine", percent=10)
    assert manager.promote(held.id, "bob", "fine", percent=10).stage == 1
    assert manager.promote(held.id, "bob", "fine").stage == 1
    held = await world.run(manager, held.id, until=lambda r: r.phase is Phase.HELD)
    assert manager.promote(held.id, "bob", "a late repeat", percent=10).stage == 1
    with pytest.raises(IllegalTransition, match="not reached 100 %"):
        manager.promote(held.id, "bob", "too early", percent=100)
    manager.promote(held.id, "bob", "fine", percent=50)
    ended = await world.run(manager, held.id)
    assert [record.reasons[0] for record in ended.history[:2]] == ["promoted by bob: fine"] * 2
    assert len(ended.history[2].looks) == 1


async def test_an_inconclusive_stage_is_extended_and_then_held_for_a_person() -> None:
    world = World()
    await world.warm_up()
    manager = world.manager()
    rollout = manager.create(request())
    world.fleet.unscraped = set(world.fleet.configs)
    held = await world.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    assert held.extensions == held.planned.pace.extensions == 2
    assert len(held.history[0].looks) == 3
    assert held.reason.startswith("not enough evidence: ttft_s: 0 usable windows")
    assert held.history[0].verdict is None


async def test_the_canarys_health_below_the_threshold_rolls_back_whatever_the_judge_says() -> None:
    world = World(health=lambda _window, _config: 31.0)
    ended = await started(world, Phase.ROLLED_BACK, health_threshold=50)
    assert ended.reason == "the canary's health is 31, below 50"
    assert ended.history[0].looks[0].verdict is Verdict.PROMOTE


async def test_a_canary_is_as_healthy_as_its_worst_replica() -> None:
    world = World(service(4), health=lambda window, _config: 30.0 if window.target == "chat-1" else 90.0)
    ended = await started(world, Phase.ROLLED_BACK, health_threshold=50)
    assert (ended.stage, ended.health) == (1, 30.0)


async def test_a_replica_that_restarts_in_no_time_is_not_taken_for_a_crash() -> None:
    await started(World(start_delay_s=0.0), Phase.COMPLETED)


async def test_unknown_health_is_not_low_health() -> None:
    await started(World(health=lambda _window, _config: None), Phase.COMPLETED, health_threshold=50)


async def test_a_canary_that_does_not_start_is_rolled_back_at_once() -> None:
    world = World()
    world.fleet.fails_to_start = lambda config: max_num_seqs(config) == 64
    ended = await started(world, Phase.ROLLED_BACK)
    assert ended.reason == "chat-0: does not start with the change: exited with status 1"
    assert set(world.fleet.configs.values()) == {BEFORE}


async def test_a_canary_that_never_gets_ready_is_rolled_back_when_its_time_is_over() -> None:
    world = World(start_delay_s=10_000)
    await world.warm_up()
    manager = world.manager()
    rollout = manager.create(request())
    ended = await world.run(manager, rollout.id)
    assert ended.reason == ("the replicas did not become ready in time; not ready again, look at: chat-0")
    assert world.fleet.configs["chat-0"] == BEFORE


async def test_a_canary_that_restarts_again_and_again_is_rolled_back_before_the_judge_is_asked() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    for _ in range(2):
        await manager.tick()
        await world.pass_time(60)
        world.fleet.restart("chat-0")
        await world.pass_time(40)
    ended = await world.run(manager, rollout.id)
    assert ended.phase is Phase.ROLLED_BACK
    assert ended.reason == "chat-0: 2 restarts of the canary in 3 minutes of replicas"
    assert ended.history[0].looks == ()


async def test_a_canary_that_restarts_once_is_left_to_a_person() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    await world.pass_time(60)
    world.fleet.restart("chat-0")
    held = await world.run(world.manager(), rollout.id, until=lambda r: r.phase is not Phase.MONITORING)
    assert held.phase is Phase.HELD
    assert held.reason == "not enough evidence: chat-0 restarted while it was observed"


@pytest.mark.parametrize("held", [False, True])
async def test_requests_that_fail_on_the_canary_alone_roll_it_back_at_once(held: bool) -> None:
    world = World(service(10))
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    if held:
        manager.pause(rollout.id, "ann", "lunch")
    await manager.tick()
    world.fleet.failing = lambda config: 0.5 if max_num_seqs(config) == 64 else 0.0
    await world.pass_time(20)
    await manager.tick()
    after = manager.get(rollout.id)
    assert after.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    assert after.reason.startswith("chat-0: requests_failed: ")
    assert after.reason.endswith("which is no chance")
    assert after.history[0].looks == ()


async def test_with_nobody_left_failures_are_held_against_the_past_at_every_scrape() -> None:
    world = World(service(1))
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    world.fleet.failing = lambda _: 0.5
    await world.pass_time(30)
    await manager.tick()
    assert manager.get(rollout.id).phase is Phase.ROLLING_BACK


class ReadHistory(MemoryHistory):
    """A history that counts what is read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def since(self, target: str, start_s: float) -> Sequence[Snapshot]:
        found = super().since(target, start_s)
        self.read += len(found)
        return found


async def test_watching_a_rollout_that_is_held_for_long_reads_only_what_is_new() -> None:
    history = ReadHistory()
    world = World(history=history)
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    manager.pause(rollout.id, "bob", "over night")
    for _ in range(100):
        await manager.tick()
        await world.pass_time(60)
    history.read = 0
    await manager.tick()
    assert 0 < history.read <= len(world.service.targets) * 7


@pytest.mark.parametrize("same_manager", [True, False])
async def test_a_canary_that_restarts_twice_while_nobody_looks_is_rolled_back(same_manager: bool) -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    manager.pause(rollout.id, "bob", "over night")
    for _ in range(10):
        await manager.tick()
        await world.pass_time(10)
    for _ in range(2):
        world.fleet.restart("chat-0")
        await world.pass_time(1200)
    ended = await world.run(manager if same_manager else world.manager(), rollout.id)
    assert ended.reason.startswith("chat-0: 2 restarts of the canary in ")


async def down_when_judged(world: World) -> Rollout:
    """A rollout whose canary went down shortly before the judge is asked, and whose first verdict has just come."""
    rollout = await started(world, Phase.MONITORING)
    assert rollout.judge_at_s is not None
    await world.pass_time(rollout.judge_at_s - world.clock.now() - 10.0)
    world.fleet.restart("chat-0")
    return await world.run(world.manager(), rollout.id, until=lambda r: bool(r.history[0].looks) or not r.active)


async def test_a_canary_that_is_being_started_again_when_the_judge_is_asked_is_no_proof_of_harm() -> None:
    world = World()
    seen = await down_when_judged(world)
    assert (seen.phase, seen.extensions) == (Phase.MONITORING, 1)
    assert seen.reason == "observing longer: chat-0 is being started again"
    held = await world.run(world.manager(), seen.id, until=lambda r: r.phase is not Phase.MONITORING)
    assert held.reason == "not enough evidence: chat-0 restarted while it was observed"


async def test_a_canary_that_does_not_come_back_is_rolled_back() -> None:
    world = World(pace=Pace(ready_timeout_s=500.0))
    seen = await down_when_judged(world)
    world.fleet.restart_takes("chat-0", 100_000.0)
    ended = await world.run(world.manager(), seen.id)
    assert ended.reason.startswith("chat-0 has been down for more than 8 minutes")
    assert ended.phase is Phase.ROLLED_BACK


async def test_a_canary_that_fails_while_it_is_observed_is_rolled_back() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    world.fleet.fails_to_start = lambda config: max_num_seqs(config) == 64
    ended = await world.run(world.manager(), rollout.id)
    assert ended.reason == "chat-0: failed with the change: exited with status 1"


BY_HAND = LaunchConfig(("--max-num-seqs", "32", "--seed=7"), BEFORE.env)


@pytest.mark.parametrize("target", ["chat-0", "chat-3"])
@pytest.mark.parametrize("phase", [Phase.MONITORING, Phase.HELD])
async def test_a_rollout_is_held_when_somebody_else_changes_a_replica(phase: Phase, target: str) -> None:
    world = World()
    rollout = await started(world, phase, auto_rollout=False)
    changed = len(world.fleet.applied)
    as_left = world.fleet.configs[target]
    world.fleet.restart(target, BY_HAND)
    manager = world.manager()
    held = await world.run(manager, rollout.id, until=lambda r: bool(r.edits))
    wanted = int(max_num_seqs(as_left) or 0)
    assert held.phase is Phase.HELD
    assert [str(edit) for edit in held.edits] == [
        f"{target} (max_num_seqs is 32, not {wanted}; differing: --max-num-seqs)"
    ]
    assert held.reason == f"somebody else has changed {held.edits[0]}: resume looks again, abort undoes this rollout"
    assert manager.resume(rollout.id, "bob", "is it gone?").phase is Phase.MONITORING
    again = await world.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    assert again.edits == held.edits
    await world.pass_time(300)
    world.fleet.restart(target, as_left)
    await world.pass_time(30)
    mended = await world.run(manager, rollout.id, until=lambda r: not r.edits)
    assert mended.reason.startswith("what somebody else had changed is as it was")
    assert len(world.fleet.applied) == changed
    resumed = manager.resume(rollout.id, "bob", "put back")
    assert resumed.observed_from_s == world.clock.now() + rollout.planned.pace.warm_up_s
    judged = await world.run(
        manager, rollout.id, until=lambda r: len(r.history[0].looks) > len(rollout.history[0].looks)
    )
    assert judged.history[0].looks[-1].verdict is Verdict.PROMOTE


async def test_no_further_replica_is_changed_once_somebody_else_has_changed_one() -> None:
    world = World(service(10))
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    await world.run(manager, rollout.id, until=lambda r: len(r.touched) == 3)
    world.fleet.restart("chat-7", BY_HAND)
    held = await world.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    assert held.touched == ("chat-0", "chat-1", "chat-2")
    world.fleet.restart("chat-7", BEFORE)
    manager.resume(rollout.id, "bob", "put back")
    assert (await world.run(manager, rollout.id)).phase is Phase.COMPLETED


async def test_a_canary_that_fails_is_rolled_back_though_somebody_else_changes_another_replica() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    world.fleet.restart("chat-3", BY_HAND)
    await world.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    world.fleet.fails_to_start = lambda config: max_num_seqs(config) == 64
    ended = await world.run(manager, rollout.id)
    assert ended.reason == "chat-0: failed with the change: exited with status 1"
    assert world.fleet.configs == {**dict.fromkeys(world.fleet.configs, BEFORE), "chat-3": BY_HAND}


async def test_a_replica_without_the_change_that_does_not_answer_holds_nothing_up() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    world.fleet.unreachable = {"chat-3"}
    later = await world.run(manager, rollout.id, until=lambda r: r.stage == 1)
    assert not any(isinstance(event, Stumbled) for _, event in manager.events(later.id))


async def test_more_that_somebody_changes_does_not_prolong_how_long_a_person_is_waited_for() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    world.fleet.restart("chat-3", BY_HAND)
    held = await world.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    await world.pass_time(600)
    world.fleet.restart("chat-2", BY_HAND)
    more = await world.run(manager, rollout.id, until=lambda r: len(r.edits) == 2)
    assert more.deadline_s == held.deadline_s


async def test_a_rollback_waits_for_a_replica_that_cannot_be_reached_and_restores_the_others_meanwhile() -> None:
    world = World(service(10))
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    await world.run(manager, rollout.id, until=lambda r: r.stage == 1 and r.phase is Phase.MONITORING)
    world.fleet.unreachable = {"chat-2"}
    manager.abort(rollout.id, "bob", "enough")
    for _ in range(200):
        await manager.tick()
        await world.pass_time(10)
    stuck = manager.get(rollout.id)
    assert stuck.phase is Phase.ROLLING_BACK
    assert stuck.trouble == "chat-2: http://chat-2 refused the connection"
    assert [t for t, config in world.fleet.configs.items() if config != BEFORE] == ["chat-2"]
    world.fleet.unreachable = set()
    assert (await world.run(manager, rollout.id)).phase is Phase.ROLLED_BACK
    assert set(world.fleet.configs.values()) == {BEFORE}


async def test_a_rollback_asks_replicas_that_hang_all_at_the_same_time() -> None:
    world = World(service(10))
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    await world.run(manager, rollout.id, until=lambda r: len(r.touched) == 5 and r.phase is Phase.MONITORING)
    asked, over = [], asyncio.Event()

    async def hang(target: Target) -> LaunchConfig:
        asked.append(target.id)
        await over.wait()
        raise Unreachable(f"{target.url} hangs")

    world.fleet.read = hang  # type: ignore[method-assign]
    manager.abort(rollout.id, "bob", "enough")
    tick = asyncio.create_task(manager.tick())
    for _ in range(100):
        await asyncio.sleep(0)
    assert sorted(asked) == sorted(rollout.planned.stages[1].targets)
    over.set()
    await tick


async def test_a_rollback_is_not_over_before_every_replica_reads_back_as_it_was_stored() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    really_apply = world.fleet.apply

    lost = []

    async def lose(target: Target, config: LaunchConfig) -> None:
        lost.append((target.id, config))

    world.fleet.apply = lose  # type: ignore[method-assign]
    manager.abort(rollout.id, "bob", "enough")
    for _ in range(20):
        await manager.tick()
        await world.pass_time(10)
    assert manager.get(rollout.id).phase is Phase.ROLLING_BACK
    assert manager.get(rollout.id).trouble == (
        "chat-0: it was told to, but does not run as it was stored: "
        "max_num_seqs is 64, not 8; differing: --max-num-seqs"
    )
    assert set(lost) == {("chat-0", BEFORE)}
    world.fleet.apply = really_apply  # type: ignore[method-assign]
    assert (await world.run(manager, rollout.id)).phase is Phase.ROLLED_BACK
    assert set(world.fleet.configs.values()) == {BEFORE}


async def test_a_rollback_leaves_what_somebody_else_has_set_and_tells_it() -> None:
    world = World(service(10))
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    await world.run(manager, rollout.id, until=lambda r: r.stage == 1 and r.phase is Phase.MONITORING)
    world.fleet.restart("chat-1", BY_HAND)
    await world.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    manager.abort(rollout.id, "bob", "chat-1 is mine now")
    ended = await world.run(manager, rollout.id)
    assert ended.phase is Phase.ROLLED_BACK
    assert world.fleet.configs == {**dict.fromkeys(world.fleet.configs, BEFORE), "chat-1": BY_HAND}
    assert sorted(ended.restored) == ["chat-0", "chat-2", "chat-3", "chat-4"]
    assert ended.reason == (
        "aborted by bob: chat-1 is mine now; left as somebody else has set them: "
        "chat-1 (max_num_seqs is 32, not 8; differing: --max-num-seqs)"
    )


async def test_what_is_set_on_a_replica_after_it_was_restored_is_left_too() -> None:
    world = World(service(10), start_delay_s=60.0)
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    await world.run(manager, rollout.id, until=lambda r: r.stage == 1 and r.phase is Phase.MONITORING)
    manager.abort(rollout.id, "bob", "enough")
    await world.run(manager, rollout.id, until=lambda r: "chat-0" in r.restored)
    world.fleet.restart("chat-0", BY_HAND)
    ended = await world.run(manager, rollout.id)
    assert [edit.target for edit in ended.left] == ["chat-0"]
    assert world.fleet.configs == {**dict.fromkeys(world.fleet.configs, BEFORE), "chat-0": BY_HAND}


async def test_what_an_actuator_has_made_of_a_configuration_is_no_persons_and_is_put_back() -> None:
    world = World()
    await world.warm_up()
    manager = world.manager()
    rollout = manager.create(request())
    really_apply = world.fleet.apply

    async def mangle(target: Target, config: LaunchConfig) -> None:
        await really_apply(target, config if config == BEFORE else BY_HAND)

    world.fleet.apply = mangle  # type: ignore[method-assign]
    held = await world.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    assert [edit.target for edit in held.edits] == ["chat-0"]
    manager.abort(rollout.id, "bob", "what is this?")
    ended = await world.run(manager, rollout.id)
    assert (ended.phase, ended.left) == (Phase.ROLLED_BACK, ())
    assert set(world.fleet.configs.values()) == {BEFORE}


async def test_a_rollback_that_cannot_be_done_is_tried_until_a_person_takes_it_over() -> None:
    world = World(service(10))
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    with pytest.raises(IllegalTransition):
        manager.take_over(rollout.id, "bob", "there is no rollback")
    await world.run(manager, rollout.id, until=lambda r: r.stage == 1 and r.phase is Phase.MONITORING)
    world.fleet.unreachable = {"chat-2"}
    manager.abort(rollout.id, "bob", "enough")
    for _ in range(200):
        await manager.tick()
        await world.pass_time(60)
    stuck = manager.get(rollout.id)
    assert stuck.phase is Phase.ROLLING_BACK
    assert stuck.retry_at_s - stuck.updated_at_s == LONGEST_BACKOFF_S
    assert stuck.unrestored == ("chat-2",)
    ended = manager.take_over(rollout.id, "bob", "its machine burnt down")
    assert (ended.phase, ended.unrestored) == (Phase.FAILED, ("chat-2",))
    assert manager.take_over(rollout.id, "bob", "said twice") == ended
    assert manager.create(request(change={Knob.MAX_NUM_SEQS: 32})).active


@pytest.mark.parametrize(("who", "why"), [("", "because"), (" ", "because"), ("ann", ""), ("ann", " ")])
async def test_whoever_decides_says_who_it_is_and_why(who: str, why: str) -> None:
    world = World()
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    manager = world.manager()
    for verb in (manager.approve, manager.reject, manager.abort, manager.take_over):
        with pytest.raises(InvalidInput, match="who it is, and why"):
            verb(waiting.id, who, why)
    assert manager.get(waiting.id) == waiting


async def test_a_short_trouble_is_recorded_with_its_end_and_changes_nothing() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    world.fleet.unreachable = {"chat-0"}
    await world.run(manager, rollout.id, until=lambda r: r.attempts == 2)
    world.fleet.unreachable = set()
    ended = await world.run(manager, rollout.id)
    assert ended.phase is Phase.COMPLETED
    kinds = [type(event) for _, event in manager.events(rollout.id)]
    assert kinds.count(Stumbled) == 2
    assert kinds.count(Recovered) == 1


async def test_a_canary_that_cannot_be_watched_for_long_is_rolled_back() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    world.fleet.unreachable = {"chat-0"}
    back = await world.run(manager, rollout.id, until=lambda r: r.phase is Phase.ROLLING_BACK)
    assert back.reason.startswith("gave up after 8 attempts: http://chat-0 refused")


async def test_when_the_configuration_cannot_be_read_nothing_is_touched() -> None:
    world = World()
    world.fleet.unreachable = {"chat-3"}
    ended = await started(world, Phase.FAILED)
    assert ended.reason.endswith("refused the connection; nothing had been changed")
    assert world.fleet.applied == []


async def test_trouble_with_one_rollout_never_stops_another() -> None:
    world = World()
    world.survey_fails = RuntimeError("boom")
    await world.warm_up()
    manager = world.manager()
    failing = manager.create(request())
    ended = await world.run(manager, failing.id)
    assert ended.phase is Phase.FAILED
    assert ended.reason.startswith("gave up after 8 attempts: unexpected RuntimeError: boom")
    world.survey_fails = None
    fine = manager.create(request())
    assert (await world.run(manager, fine.id)).phase is Phase.COMPLETED


async def test_a_survey_that_comes_through_later_is_used() -> None:
    world = World()
    world.survey_fails = Unreachable("no connection")
    manager = world.manager()
    rollout = manager.create(request(requires_approval=True))
    await world.run(manager, rollout.id, until=lambda r: r.attempts == 3)
    assert manager.get(rollout.id).trouble == "no connection"
    world.survey_fails = None
    await world.run(manager, rollout.id, until=lambda r: r.phase is Phase.AWAITING_APPROVAL)
    assert manager.get(rollout.id).trouble == ""


async def test_without_a_change_worth_making_the_rollout_is_done() -> None:
    ended = await started(World(), Phase.COMPLETED, change={Knob.MAX_NUM_SEQS: 8})
    assert ended.history == ()
    assert ended.reason == "nothing is wrong"


@pytest.mark.parametrize(
    ("change", "reason"),
    [({Knob.MAX_NUM_SEQS: -4}, "max_num_seqs"), ({Knob.SCHEDULE_CONSERVATIVENESS: 0.5}, "schedule_conservativeness")],
)
async def test_a_change_that_must_not_be_made_is_refused_with_the_reason(change: dict[Knob, int], reason: str) -> None:
    world = World()
    ended = await started(world, Phase.FAILED, change=change)
    assert reason in ended.reason
    assert world.fleet.applied == []


async def test_an_actuator_that_is_not_here_is_refused() -> None:
    ended = await started(World(service(actuator="webhook")), Phase.FAILED)
    assert ended.reason == "there is no actuator 'webhook' here"


async def test_without_an_actuator_the_flags_are_told_and_abort_ends_it() -> None:
    world = World(service(actuator="none"))
    held = await started(world, Phase.HELD)
    assert held.reason == "no actuator: apply by hand: --max-num-seqs=64"
    manager = world.manager()
    with pytest.raises(IllegalTransition):
        manager.promote(held.id, "bob", "done")
    assert manager.abort(held.id, "bob", "noted").phase is Phase.ROLLED_BACK
    assert world.fleet.applied == []


async def test_a_service_has_one_rollout_at_a_time() -> None:
    world = World()
    manager = world.manager()
    first = manager.create(request())
    with pytest.raises(Conflict, match="r1 under way, which is pending"):
        manager.create(request())
    assert manager.active("chat") == first
    manager.abort(first.id, "bob", "enough")
    assert manager.active("chat") is None
    assert [rollout.id for rollout in manager.rollouts()] == ["r1"]
    assert manager.create(request()).id == "r2"


async def test_after_a_rollback_a_service_rests_unless_somebody_says_why_it_cannot() -> None:
    world = World(service(policy=Policy(cooldown_s=3600.0)))
    harmful(world)
    await started(world, Phase.ROLLED_BACK)
    manager = world.manager()
    with pytest.raises(Conflict, match=r"service chat: its last change was rolled back, .* until 20"):
        manager.create(request())
    hurried = manager.create(request(override="the queue grows by the minute"))
    assert hurried.request.override == "the queue grows by the minute"
    manager.abort(hurried.id, "bob", "it can wait after all")
    await world.pass_time(3600)
    assert manager.create(request()).active


async def test_a_service_is_changed_no_more_often_than_its_policy_allows() -> None:
    world = World(service(policy=Policy(changes_per_day=1)))
    await started(world, Phase.COMPLETED)
    with pytest.raises(Conflict, match="changed 1 times within 24 hours"):
        world.manager().create(request(change={Knob.MAX_NUM_SEQS: 32}))


def freeze(world: World, seconds: float | None) -> None:
    """From now on for so long nothing may be changed; None lifts it."""
    now_s = world.clock.now()
    freezes = () if seconds is None else (Period(now_s, now_s + seconds, "holidays"),)
    world.register(replace(world.service, policy=Policy(freezes=freezes)))


async def test_nothing_begins_in_a_freeze_and_what_was_approved_begins_when_it_is_over() -> None:
    world = World(service(10))
    freeze(world, 20 * 3600.0)
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    manager = world.manager()
    manager.approve(waiting.id, "bob", "looks right")
    frozen = await world.run(manager, waiting.id, until=lambda r: r.phase is Phase.HELD)
    assert frozen.reason.startswith("frozen by the service's policy at least until 20")
    assert frozen.reason.endswith("UTC (holidays)")
    await world.clock.sleep(START_S + 20 * 3600 - 900 - world.clock.now())
    touched = await world.run(manager, waiting.id, until=lambda r: bool(r.touched))
    assert touched.updated_at_s == START_S + 20 * 3600
    assert (await world.run(manager, waiting.id)).phase is Phase.COMPLETED


async def test_a_freeze_that_is_put_or_lifted_meanwhile_counts_for_the_next_replica() -> None:
    world = World(service(10))
    rollout = await started(world, Phase.MONITORING)
    manager = world.manager()
    await world.run(manager, rollout.id, until=lambda r: len(r.touched) == 3)
    freeze(world, 1e9)
    await world.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    resumed = manager.resume(rollout.id, "bob", "never mind the freeze")
    assert resumed.phase is Phase.ROLLING_OUT
    held = await world.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    assert held.reason.startswith("frozen")
    await world.clock.sleep(30 * 3600)
    await manager.tick()
    assert manager.get(rollout.id).touched == ("chat-0", "chat-1", "chat-2")
    freeze(world, None)
    assert (await world.run(manager, rollout.id)).phase is Phase.COMPLETED


async def test_a_rollback_knows_no_freeze() -> None:
    world = World(service(10))
    rollout = await started(world, Phase.MONITORING)
    harmful(world)
    freeze(world, 1e9)
    assert (await world.run(world.manager(), rollout.id)).phase is Phase.ROLLED_BACK
    assert set(world.fleet.configs.values()) == {BEFORE}


async def test_a_plan_is_made_and_approved_anew_when_the_service_was_changed_after_it() -> None:
    world = World()
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    manager = world.manager()
    world.register(replace(world.service, policy=Policy((Share(50), Share(100)))))
    manager.approve(waiting.id, "bob", "looks right")
    asked = await world.run(manager, waiting.id, until=lambda r: r.phase is Phase.AWAITING_APPROVAL)
    assert [stage.percent for stage in asked.planned.stages] == [50, 100]
    with pytest.raises(IllegalTransition, match="another plan"):
        manager.approve(waiting.id, "bob", "a late repeat", waiting.planned.hash)
    manager.approve(waiting.id, "bob", "looks right too")
    assert (await world.run(manager, waiting.id)).phase is Phase.COMPLETED


async def test_a_plan_is_made_anew_when_a_replica_was_changed_after_it() -> None:
    world = World()
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    manager = world.manager()
    by_hand = LaunchConfig(("--max-num-seqs", "32"))
    world.fleet.restart("chat-1", by_hand)
    manager.approve(waiting.id, "bob", "looks right")
    asked = await world.run(manager, waiting.id, until=lambda r: r.phase is Phase.AWAITING_APPROVAL)
    reasons = [event.reason for _, event in manager.events(waiting.id) if isinstance(event, Outdated)]
    assert reasons == ["since the plan was made, chat-1 is started otherwise"]
    assert asked.approval is None
    manager.approve(waiting.id, "bob", "I know of chat-1")
    approved = await world.run(manager, waiting.id, until=lambda r: bool(r.captured))
    assert approved.captured_of("chat-1").prior == by_hand


async def test_an_approval_that_comes_too_late_is_refused_though_nobody_noticed_yet() -> None:
    world = World()
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    await world.clock.sleep(waiting.planned.pace.approval_timeout_s)
    with pytest.raises(IllegalTransition, match="that time is over"):
        world.manager().approve(waiting.id, "bob", "at last")


async def test_unknown_rollouts_are_not_found() -> None:
    manager = World().manager()
    for call in (manager.get, manager.events):
        with pytest.raises(NotFound, match="no rollout 'r9'"):
            call("r9")


async def test_another_manager_on_the_same_journal_sees_the_same_rollouts() -> None:
    world = World(service(10))
    ended = await started(world, Phase.COMPLETED)
    again = world.manager()
    assert again.get(ended.id) == ended
    assert [type(event) for _, event in again.events(ended.id)].count(Touching) == 10
    assert sum(isinstance(event, Judged) for _, event in again.events(ended.id)) == 3


async def test_a_rollout_whose_journal_cannot_be_read_is_named() -> None:
    world = World()
    rollout = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    world.journal.append(rollout.id, rollout.seq, START_S, "teleported", "{}")
    with pytest.raises(BadAnswer, match=f"rollout {rollout.id}: the journal has an event of a kind"):
        world.manager()


async def test_what_a_manager_does_that_has_lost_its_lease_is_not_recorded(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    one = world.manager()
    rollout = one.create(request(requires_approval=True))
    other = world.manager()
    await one.tick()
    assert "agent 2 acts by now" in caplog.text
    assert one.get(rollout.id).phase is Phase.PENDING
    await other.tick()
    assert other.get(rollout.id).phase is Phase.AWAITING_APPROVAL
    await one.tick()
    assert one.get(rollout.id) == other.get(rollout.id)


async def test_what_people_say_to_two_managers_counts_in_the_order_in_which_it_was_journalled() -> None:
    world = World()
    standing_by = world.manager()
    acting = world.manager()
    rollout = standing_by.create(request(requires_approval=True))
    acting.refresh()
    await acting.tick()
    standing_by.refresh()
    standing_by.approve(rollout.id, "bob", "fine")
    assert acting.abort(rollout.id, "eve", "no").phase is Phase.ROLLED_BACK
    with pytest.raises(IllegalTransition):
        standing_by.pause(rollout.id, "bob", "wait")
    assert standing_by.get(rollout.id) == acting.get(rollout.id)
    assert [type(event) for _, event in acting.events(rollout.id)] == [Requested, Planned, Approved, Aborted]


async def test_a_late_promote_does_not_promote_the_stage_that_the_judge_has_gone_on_to_meanwhile() -> None:
    world = World()
    rollout = await started(world, Phase.MONITORING, monitoring_s=100.0)
    standing_by = world.manager()
    acting = world.manager()
    await world.run(acting, rollout.id, until=lambda r: r.stage == 1)
    assert standing_by.get(rollout.id).stage == 0
    told = standing_by.promote(rollout.id, "bob", "good enough", percent=10)
    assert told == acting.get(rollout.id)


async def test_two_managers_do_not_begin_rollouts_of_one_service_at_the_same_moment() -> None:
    world = World()
    one, other = world.manager(), world.manager()
    begun = one.create(request())
    with pytest.raises(Conflict, match="begun at the same moment"):
        other.create(request())
    other.refresh()
    with pytest.raises(Conflict, match=f"has rollout {begun.id} under way"):
        other.create(request())
    assert [rollout.id for rollout in other.rollouts()] == [begun.id]


async def test_a_manager_without_the_lease_changes_nothing() -> None:
    world = World()
    await world.warm_up()
    one = world.manager()
    rollout = one.create(request())
    await world.run(one, rollout.id, until=lambda r: bool(r.touched))
    changed = len(world.fleet.applied)
    apply = Fenced(world.fleet, Leadership(MemoryLease("a third", world.clock, world.held), world.clock)).apply
    with pytest.raises(LeaseLost, match="chat-0 is left as it is"):
        await apply(one.get(rollout.id).planned.targets[0], BEFORE)
    assert len(world.fleet.applied) == changed


async def test_a_change_during_which_the_lease_ran_out_is_told(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    lead = Leadership(MemoryLease("one", world.clock), world.clock)
    lead.renew()
    apply = world.fleet.apply

    async def slow(target: Target, config: LaunchConfig) -> None:
        await apply(target, config)
        await world.clock.sleep(LEASE_S)

    world.fleet.apply = slow  # type: ignore[method-assign]
    await Fenced(world.fleet, lead).apply(world.service.targets[0], BEFORE)
    assert "chat-0 was changed while this agent's lease ran out" in caplog.text


async def test_an_answer_that_came_too_late_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    waiting = await started(world, Phase.AWAITING_APPROVAL, requires_approval=True)
    manager = world.manager()
    manager.approve(waiting.id, "bob", "fine")
    read = world.fleet.read

    async def slow_read(target: Target) -> LaunchConfig:
        manager.abort(waiting.id, "bob", "while the actuator was asked")
        return await read(target)

    world.fleet.read = slow_read  # type: ignore[method-assign]
    await manager.tick()
    assert manager.get(waiting.id).phase is Phase.ROLLED_BACK
    assert manager.get(waiting.id).captured == ()
    assert caplog.records == []


async def test_what_is_warmed_up_is_cut_off_and_told() -> None:
    rollout = await started(World(), Phase.MONITORING, monitoring_s=300.0)
    record = rollout.history[0]
    assert record.warm_up_s == 30.0
    assert rollout.applied_at_s is not None
    assert record.applied_at_s == rollout.applied_at_s > START_S
    assert rollout.observed_from_s == rollout.applied_at_s + 30.0
    assert rollout.judge_at_s == rollout.observed_from_s + 300.0


async def test_the_share_is_told_as_it_is() -> None:
    rollout = await started(World(service(4)), Phase.MONITORING)
    assert rollout.current_stage is not None
    assert (rollout.current_stage.percent, rollout.current_stage.actual_percent) == (10, 25.0)
    assert rollout.fleet_percent == 25.0
    assert rollout.planned.change == MORE_AT_ONCE


async def test_replicas_with_nothing_new_to_tell_are_not_asked_at_every_tick() -> None:
    world = World()
    await started(world, Phase.MONITORING)
    manager, asked, read = world.manager(), 0, world.fleet.read

    async def counted(target: Target) -> LaunchConfig:
        nonlocal asked
        asked += 1
        return await read(target)

    world.fleet.read = counted  # type: ignore[method-assign]
    for _ in range(20):
        await manager.tick()
        await world.clock.sleep(LOOK_S / 10)
    assert asked == 2 * len(world.service.targets)
