"""Rollouts of changes that may alter answers, on a fleet that is asked for some."""

from dataclasses import replace

import pytest

from perfagent.domain.knob import LaunchConfig
from perfagent.domain.quality import Quality
from perfagent.domain.verdict import Verdict
from perfagent.judge.quality import compare, shipped_prompts
from perfagent.workflows.events import Answered, CanaryLost, Probed
from perfagent.workflows.manager import Manager
from perfagent.workflows.model import Phase, Rollout
from support.rollouts import BEFORE, FEWER_BITS, Deadly, Killed, World, asking, request, service

PROMPTS = tuple(f"{k}: " + "what do you say to this question, replica?" for k in range(12))


def world(replicas: int = 10, *, prompts: tuple[str, ...] = PROMPTS) -> World:
    of = asking(service(replicas), prompts)
    return World(replace(of, policy=replace(of.policy, approval="never")))


async def begun(of: World) -> tuple[Manager, Rollout]:
    await of.warm_up()
    manager = of.manager()
    return manager, manager.create(request(change=FEWER_BITS))


def otherwise(config: LaunchConfig, prompt: str) -> str:
    """A replica with the change says something else from the third token on."""
    return prompt if config == BEFORE else prompt[:2] + "no" * 30


async def test_the_same_answers_let_the_judge_decide() -> None:
    of = world()
    manager, rollout = await begun(of)
    ended = await of.run(manager, rollout.id)
    assert ended.phase is Phase.COMPLETED
    assert [[said.verdict for said in record.quality] for record in ended.history] == [[Verdict.PROMOTE]] * 3
    assert len(ended.answers) == len(PROMPTS)
    before, asked = of.fleet.asked[: 2 * len(PROMPTS)], of.fleet.asked[2 * len(PROMPTS) :]
    assert set(before) == {target.id for target in of.service.targets}
    assert asked[: len(PROMPTS)] == ["chat-0"] * len(PROMPTS)
    assert set(asked[-len(PROMPTS) :]) == set(before)


async def test_a_verdict_on_answers_can_be_worked_out_anew_from_what_is_journalled() -> None:
    of = world()
    manager, rollout = await begun(of)
    await of.run(manager, rollout.id)
    kept = of.manager().get(rollout.id)
    assert kept.planned.quality is not None
    for record in kept.history:
        for said in record.quality:
            assert compare(kept.answers, said.answers, kept.planned.quality) == said


async def test_other_answers_are_held_at_the_first_stage_until_a_person_decides() -> None:
    of = world()
    of.fleet.answers = otherwise
    manager, rollout = await begun(of)
    held = await of.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    assert held.touched == ("chat-0",)
    assert held.reason.startswith("answers are not as before: ")
    assert held.history[-1].looks == ()
    manager.abort(rollout.id, "ann", "these are worse")
    ended = await of.run(manager, rollout.id)
    assert ended.phase is Phase.ROLLED_BACK
    assert set(of.fleet.configs.values()) == {BEFORE}


async def test_a_person_may_find_other_answers_as_good_at_every_stage() -> None:
    of = world()
    of.fleet.answers = otherwise
    manager, rollout = await begun(of)
    for percent in (10, 50, 100):
        held = await of.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
        assert held.current_stage is not None
        assert held.current_stage.percent == percent
        manager.promote(rollout.id, "ann", "as good, in other words", percent=percent)
    assert manager.get(rollout.id).phase is Phase.COMPLETED


async def test_a_canary_that_says_nothing_is_asked_at_every_look_and_then_held() -> None:
    of = world()
    manager, rollout = await begun(of)
    await of.run(manager, rollout.id, until=lambda r: bool(r.touched))
    of.fleet.speechless.add("chat-0")
    held = await of.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    assert held.reason.startswith("not enough evidence: answers could not be asked for: http://chat-0/v1/completions")
    assert len(held.history[0].quality) == len(held.history[0].looks) == 3
    of.fleet.speechless.clear()
    manager.resume(rollout.id, "ann", "it speaks again")
    assert (await of.run(manager, rollout.id)).phase is Phase.COMPLETED


async def test_nothing_is_touched_where_nobody_answers_beforehand() -> None:
    of = world(2)
    of.fleet.speechless.update(target.id for target in of.service.targets)
    manager, rollout = await begun(of)
    held = await of.run(manager, rollout.id, until=lambda r: r.phase is Phase.HELD)
    assert held.touched == ()
    assert of.fleet.applied == []
    of.fleet.speechless.clear()
    manager.resume(rollout.id, "ann", "they speak again")
    assert (await of.run(manager, rollout.id, until=lambda r: bool(r.touched))).answers


async def test_a_canary_that_crashes_while_it_is_asked_is_rolled_back() -> None:
    of = world()
    manager, rollout = await begun(of)
    await of.run(manager, rollout.id, until=lambda r: r.phase is Phase.MONITORING)
    of.fleet.fails_to_start = lambda config: config != BEFORE
    ended = await of.run(manager, rollout.id)
    assert ended.phase is Phase.ROLLED_BACK
    assert [type(event) for _, event in manager.events(rollout.id)].count(CanaryLost) == 1
    assert not any(isinstance(event, Probed) for _, event in manager.events(rollout.id))


async def test_a_plan_says_what_is_asked_and_a_service_without_prompts_gets_the_shipped_ones() -> None:
    of = world(prompts=())
    manager, rollout = await begun(of)
    planned = (await of.run(manager, rollout.id, until=lambda r: r.plan is not None)).planned
    assert planned.quality == Quality(shipped_prompts())


async def test_a_change_that_alters_no_answers_asks_nobody() -> None:
    of = world()
    await of.warm_up()
    manager = of.manager()
    ended = await of.run(manager, manager.create(request()).id)
    assert ended.phase is Phase.COMPLETED
    assert ended.planned.quality is None
    assert of.fleet.asked == []


async def told(deadly: Deadly) -> tuple[Phase, list[list[Verdict]], int]:
    """The end of a rollout on a manager that is killed at most once, its verdicts on answers, and events of asking."""
    of = World(asking(service(2, stages=(50, 100)), PROMPTS[:3]), start_delay_s=5.0)
    of.register(replace(of.service, policy=replace(of.service.policy, approval="never")))
    await of.warm_up(60)
    manager = None
    for _ in range(200):
        try:
            manager = manager or of.manager(deadly=deadly)
            if not manager.rollouts():
                manager.create(request(change=FEWER_BITS, monitoring_s=60.0))
            await manager.tick()
        except Killed:
            manager = of.manager()
            continue
        (rollout,) = manager.rollouts()
        if not rollout.active:
            events = [event for _, event in manager.events(rollout.id)]
            asked = sum(isinstance(event, Answered | Probed) for event in events)
            return rollout.phase, [[said.verdict for said in each.quality] for each in rollout.history], asked
        await of.pass_time(20)
    raise AssertionError("the rollout never ended")


@pytest.mark.parametrize("port_call", ["ask", "append"])
async def test_whoever_takes_over_asks_again_where_the_one_before_died(port_call: str) -> None:
    alive = Deadly(only=port_call)
    undisturbed = await told(alive)
    assert undisturbed == (Phase.COMPLETED, [[Verdict.PROMOTE]] * 2, 3)
    assert alive.calls >= 12
    for call in range(alive.calls):
        for after in (False, True):
            ending = await told(Deadly(call, after=after, only=port_call))
            assert ending == undisturbed, f"killed {'after' if after else 'before'} call {call}"
