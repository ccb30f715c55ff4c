"""Emulated servers are asked for answers over HTTP: as each engine tells them, with fewer bits, and when bad."""

import asyncio
from collections.abc import Sequence

import pytest

from perfagent.app import App, assembled
from perfagent.clock import SystemClock, VirtualClock
from perfagent.collectors.http import HttpScraper
from perfagent.domain.knob import Knob, LaunchConfig
from perfagent.domain.policy import Policy
from perfagent.domain.quality import ANSWER_TOKENS, Answer, Differing, Quality
from perfagent.domain.service import Service, replica
from perfagent.domain.snapshot import Target
from perfagent.domain.verdict import Verdict
from perfagent.emulator import BadAnswers, Fleet, Timing, serve_fleet
from perfagent.engines import render
from perfagent.judge.quality import compare, shipped_prompts
from perfagent.settings import Settings
from perfagent.workflows.model import Phase, Request, Rollout
from support.fleets import RELEASES, START_S, burst, fleet, launch, machine

QUICK = Settings(scrape_interval_s=5.0)
FEWER_BITS = {"vllm": "fp8", "sglang": "fp8_e4m3", "tgi": "fp8_e4m3fn"}


async def answers(url: str, engine: str, prompts: Sequence[str]) -> list[Answer]:
    async with HttpScraper(SystemClock()) as prober:
        asked = (prober.ask(Target("r", url), engine, prompt, ANSWER_TOKENS) for prompt in prompts)
        return list(await asyncio.gather(*asked))


@pytest.mark.parametrize(("engine", "release"), [RELEASES[0], *RELEASES[2:]])
async def test_eight_bits_answer_nearly_as_before_and_answers_that_go_bad_are_held(engine: str, release: str) -> None:
    """Of three replicas two get 8 bits for their KV cache, one of them with bad answers."""
    of = machine(engine, release)
    made = fleet(of=of, replicas=3, faults=[BadAnswers(2)], timing=Timing(startup_s=1, compile_s=0, drain_s=0))
    for number in (1, 2):
        made.apply(number, render(engine, launch(of), ((Knob.KV_CACHE_DTYPE, FEWER_BITS[engine]),), release))
    made.advance(START_S + 30)
    prompts = shipped_prompts()
    async with serve_fleet(made, SystemClock(), speed=1000.0) as addresses:
        first, second = [await answers(addresses[0], engine, prompts) for _ in range(2)]
        good, bad = [
            compare(list(zip(first, second, strict=True)), await answers(address, engine, prompts), Quality())
            for address in addresses[1:]
        ]
    assert good.verdict is Verdict.PROMOTE
    assert good.usual == Differing(len(prompts) * ANSWER_TOKENS, 0)
    assert good.differing is not None
    assert 0 < good.differing.share < 0.05
    assert good.probability_shift == pytest.approx(0.012, rel=0.1)
    assert bad.verdict is Verdict.HOLD
    assert bad.reason.startswith("answers are not as before: ")


async def ended(app: App, made: Fleet, addresses: Sequence[str], clock: VirtualClock) -> Rollout:
    """A rollout of 8 bits for the KV cache, up to its end or to what is said of the first answers."""
    targets = tuple(replica("chat", address) for address in addresses)
    flags: LaunchConfig = made.replicas[0].launch
    policy = Policy(approval="never")
    app.agent.register(
        Service("chat", "vllm", targets, actuator="emulated", policy=policy, launch=flags, release="0.33.0")
    )
    begun = None
    for _ in range(3000):
        await app.agent.tick()
        if begun is None and clock.now() > START_S + 60:
            asked = Request("chat", "ann", monitoring_s=60.0, change=((Knob.KV_CACHE_DTYPE, "fp8"),))
            begun = app.agent.roll_out(asked, engine=None)
        if begun is not None:
            rollout = app.agent.manager.get(begun.id)
            if not rollout.active or (rollout.history and rollout.history[0].quality):
                return rollout
        await clock.sleep(1.0)
        await asyncio.sleep(0)
    raise AssertionError(f"still {rollout.phase}: {rollout.reason}")


async def test_an_agent_stops_bad_answers_at_the_first_replica() -> None:
    clock = VirtualClock(START_S)
    quick = Timing(startup_s=5, compile_s=0, drain_s=5)
    made = fleet(replicas=4, workload=burst(4.0, until_s=1e5), faults=[BadAnswers(k) for k in range(4)], timing=quick)
    async with serve_fleet(made, clock) as addresses, assembled(QUICK, store=None, clock=clock) as app:
        rollout = await ended(app, made, addresses, clock)
    (said,) = rollout.history[0].quality
    assert (rollout.phase, rollout.reason, said.verdict) == (Phase.HELD, said.reason, Verdict.HOLD)
    assert len(rollout.touched) == 1
