"""What every `Actuator` promises: one suite for all that act by themselves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from perfagent.clock import VirtualClock
from perfagent.domain.errors import ActuatorFailed, Unavailable
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.snapshot import Target
from perfagent.emulator import EmulatedActuator, Timing, serve_fleet
from perfagent.ports import Actuator
from support.fleets import START_S, fleet
from support.machine import LOOK_S, fake, here

BEFORE = LaunchConfig(("--max-num-seqs=8",))
AFTER = LaunchConfig(("--max-num-seqs", "64"))
BROKEN = LaunchConfig(("--gpu-memory-utilization=0.99",))
MOST_LOOKS = 3000
QUICK = Timing(startup_s=2, compile_s=1, exit_s=1, drain_s=1)


@dataclass
class Acting:
    """A replica that serves, launched with `BEFORE`, and who changes it."""

    actuator: Actuator
    target: Target
    look: Callable[[], Awaitable[None]]
    restarts: Callable[[], int]
    """How often it was started, the first time left out."""

    async def until_ready(self) -> None:
        for _ in range(MOST_LOOKS):
            if await self.actuator.ready(self.target):
                return
            await self.look()
        raise AssertionError("it does not become ready")


@pytest.fixture(params=["emulated", "process"])
async def acting(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Acting]:
    async with AsyncExitStack() as stack:
        if request.param == "emulated":
            clock, of = VirtualClock(START_S), fleet(*BEFORE.flags, timing=QUICK)
            client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
            (url,) = await stack.enter_async_context(serve_fleet(of, clock))
            replica = of.replicas[0]
            yield Acting(
                EmulatedActuator(client), Target("r0", url), lambda: clock.sleep(0.2), lambda: replica.restarts
            )
        else:
            one = fake(*BEFORE.flags)
            agent = await stack.enter_async_context(here(tmp_path, one))
            await agent.until_ready(one)
            pids = [agent.pid(one)]

            def restarts() -> int:
                if agent.pid(one) != pids[-1]:
                    pids.append(agent.pid(one))
                return len(pids) - 1

            yield Acting(agent.actuator, one.target, lambda: asyncio.sleep(LOOK_S), restarts)


async def test_a_replica_tells_exactly_how_it_was_started(acting: Acting) -> None:
    assert await acting.actuator.read(acting.target) == BEFORE
    assert await acting.actuator.ready(acting.target)


async def test_a_change_is_told_at_once_and_ready_when_it_serves(acting: Acting) -> None:
    await acting.actuator.apply(acting.target, AFTER)
    assert await acting.actuator.read(acting.target) == AFTER
    assert not await acting.actuator.ready(acting.target)
    await acting.until_ready()
    assert await acting.actuator.read(acting.target) == AFTER
    assert acting.restarts() == 1


async def test_applying_twice_is_applying_once(acting: Acting) -> None:
    for _ in range(2):
        await acting.actuator.apply(acting.target, AFTER)
    await acting.until_ready()
    await acting.actuator.apply(acting.target, AFTER)
    await acting.look()
    await acting.until_ready()
    assert acting.restarts() == 1


async def test_what_it_runs_with_already_restarts_nothing(acting: Acting) -> None:
    await acting.actuator.apply(acting.target, BEFORE)
    assert await acting.actuator.ready(acting.target)
    assert acting.restarts() == 0


async def test_what_was_read_is_restored_word_for_word(acting: Acting) -> None:
    prior = await acting.actuator.read(acting.target)
    await acting.actuator.apply(acting.target, AFTER)
    await acting.until_ready()
    await acting.actuator.apply(acting.target, prior)
    await acting.until_ready()
    assert await acting.actuator.read(acting.target) == prior == BEFORE


async def test_a_change_that_does_not_start_is_told_with_last_words_and_can_be_taken_back(acting: Acting) -> None:
    await acting.actuator.apply(acting.target, BROKEN)
    with pytest.raises(ActuatorFailed, match="less than desired GPU memory utilization"):
        await acting.until_ready()
    assert await acting.actuator.read(acting.target) == BROKEN
    await acting.actuator.apply(acting.target, BEFORE)
    await acting.until_ready()
    assert await acting.actuator.read(acting.target) == BEFORE


async def test_a_replica_that_is_not_its_own_is_refused(acting: Acting) -> None:
    nowhere = Target("nobody", "http://127.0.0.1:9")
    with pytest.raises(Unavailable):
        await acting.actuator.read(nowhere)
    with pytest.raises(Unavailable):
        await acting.actuator.ready(nowhere)
    with pytest.raises(ActuatorFailed):
        await acting.actuator.apply(nowhere, AFTER)
