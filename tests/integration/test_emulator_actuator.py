"""The emulated fleet through the agent's port for changes."""

import httpx
import pytest
import respx

from perfagent.clock import VirtualClock
from perfagent.domain.errors import ActuatorFailed, BadAnswer, TimedOut, Unreachable
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.snapshot import Target
from perfagent.emulator import EmulatedActuator, Timing, serve_fleet
from perfagent.ports import Actuator
from support.fleets import START_S, fleet

QUICK = Timing(startup_s=10, compile_s=5, exit_s=3, drain_s=5)
NOWHERE = Target("r0", "http://127.0.0.1:9")


async def test_a_change_is_applied_once_and_is_ready_when_the_replica_serves_with_it() -> None:
    clock, of = VirtualClock(START_S), fleet("--max-num-seqs=8", replicas=2, timing=QUICK)
    wanted = LaunchConfig(("--max-num-seqs", "64"), (("VLLM_SERVER_DEV_MODE", "1"),))
    async with serve_fleet(of, clock) as addresses, httpx.AsyncClient() as client:
        actuator: Actuator = EmulatedActuator(client)
        target = Target("r1", addresses[1])
        before = await actuator.read(target)
        assert before == LaunchConfig(("--max-num-seqs=8",))
        assert await actuator.ready(target)
        await actuator.apply(target, wanted)
        assert not await actuator.ready(target)
        await clock.sleep(5)
        await actuator.apply(target, wanted)
        await clock.sleep(11)
        assert await actuator.ready(target)
        assert await actuator.read(target) == wanted
        assert [replica.restarts for replica in of.replicas] == [0, 1]
        await actuator.apply(target, before)
        await clock.sleep(20)
        assert await actuator.ready(target)
        assert await actuator.read(target) == before


async def test_a_replica_that_does_not_start_says_why_and_the_way_back_is_open() -> None:
    clock, of = VirtualClock(START_S), fleet(timing=QUICK)
    async with serve_fleet(of, clock) as addresses, httpx.AsyncClient() as client:
        actuator, target = EmulatedActuator(client), Target("r0", addresses[0])
        before = await actuator.read(target)
        await actuator.apply(target, LaunchConfig(("--gpu-memory-utilization=0.99",)))
        await clock.sleep(10)
        with pytest.raises(ActuatorFailed, match="less than desired GPU memory utilization"):
            await actuator.ready(target)
        await actuator.apply(target, before)
        await clock.sleep(20)
        assert await actuator.ready(target)


async def test_what_cannot_be_reached_is_told_as_such() -> None:
    async with httpx.AsyncClient() as client:
        actuator = EmulatedActuator(client)
        with pytest.raises(Unreachable):
            await actuator.read(NOWHERE)
        with pytest.raises(Unreachable):
            await actuator.ready(NOWHERE)
        with pytest.raises(ActuatorFailed, match="r0 could not be changed"):
            await actuator.apply(NOWHERE, LaunchConfig())


@respx.mock
async def test_answers_that_are_none_are_told_as_such() -> None:
    async with httpx.AsyncClient() as client:
        actuator, url = EmulatedActuator(client), f"{NOWHERE.url}/emulator/launch"
        for answer in (
            httpx.Response(200, text="<html>"),
            httpx.Response(404, json={"detail": "Not Found"}),
            httpx.Response(200, json=[]),
            httpx.Response(200, json={"flags": 3}),
        ):
            respx.get(url).mock(return_value=answer)
            with pytest.raises(BadAnswer):
                await actuator.read(NOWHERE)
        respx.get(url).mock(side_effect=httpx.ReadTimeout)
        with pytest.raises(TimedOut):
            await actuator.read(NOWHERE)
