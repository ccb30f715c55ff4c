"""Engines as real processes: how they start, stop, die, and are taken over."""

import asyncio
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from perfagent.actuators.process import proc
from perfagent.actuators.process.record import Life, Record
from perfagent.actuators.process.supervisor import CRASH_LOOP
from perfagent.domain.errors import ActuatorFailed
from perfagent.domain.knob import LaunchConfig
from support.fake_engine import LAST_WORDS
from support.machine import LOOK_S, fake, here, until


async def load(url: str, running: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"{url}/load/{running}")


async def test_an_engine_gets_exactly_the_words_and_the_environment_it_was_given(tmp_path: Path) -> None:
    env = {"EMPTY": "", "ODD": "a=b c\n'\"$HOME`x`", "VLLM_CPU_KVCACHE_SPACE": "1"}
    flags = ("--max-num-seqs", "8", "--odd=a b", "$(touch x)", "", "é")
    one = fake(*flags, env=env)
    async with here(tmp_path, one) as agent:
        await agent.until_ready(one)
        life = agent.record(one).life
        assert life is not None
        assert proc.argv(life.process)[-len(flags) :] == flags
        assert dict(proc.environment(life.process)) == env
        assert Path(f"/proc/{life.process.pid}/cwd").readlink() == one.folder
        assert await agent.actuator.read(one.target) == LaunchConfig(flags)


async def test_cores_are_those_named(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    one = fake(cores=[core])
    async with here(tmp_path, one) as agent:
        await agent.until_ready(one)
        assert os.sched_getaffinity(agent.pid(one)) == {core}


async def test_a_changed_engine_is_stopped_once_it_has_nothing_left_to_do(tmp_path: Path) -> None:
    one = fake("--max-num-seqs", "8", drain_s=60)
    async with here(tmp_path, one) as agent:
        await agent.until_ready(one)
        before = agent.pid(one)
        await load(one.target.url, 1)
        wanted = LaunchConfig(("--max-num-seqs", "64"))
        await agent.actuator.apply(one.target, wanted)
        assert await agent.actuator.read(one.target) == wanted
        await asyncio.sleep(10 * LOOK_S)
        assert agent.pid(one) == before
        assert os.path.exists(f"/proc/{before}")
        assert not await agent.actuator.ready(one.target)
        await load(one.target.url, 0)
        await agent.until_ready(one)
        assert agent.pid(one) != before
        assert await agent.actuator.read(one.target) == wanted


async def test_a_change_that_is_taken_back_while_draining_restarts_nothing(tmp_path: Path) -> None:
    one = fake("--max-num-seqs", "8", drain_s=60)
    async with here(tmp_path, one) as agent:
        await agent.until_ready(one)
        before, prior = agent.pid(one), await agent.actuator.read(one.target)
        await load(one.target.url, 1)
        await agent.actuator.apply(one.target, LaunchConfig(("--max-num-seqs", "64")))
        await asyncio.sleep(5 * LOOK_S)
        await agent.actuator.apply(one.target, prior)
        await load(one.target.url, 0)
        await agent.until_ready(one)
        await asyncio.sleep(10 * LOOK_S)
        assert agent.pid(one) == before


async def test_requests_that_do_not_end_hold_a_stop_up_to_the_deadline_only(tmp_path: Path) -> None:
    one = fake(drain_s=0.3)
    async with here(tmp_path, one) as agent:
        await agent.until_ready(one)
        before = agent.pid(one)
        await load(one.target.url, 3)
        await agent.actuator.apply(one.target, LaunchConfig(("--max-num-seqs", "64")))
        await until(lambda: agent.record(one).life is not None and agent.pid(one) != before)
        await agent.until_ready(one)


async def test_who_does_not_end_when_asked_is_killed_with_everything_it_started(tmp_path: Path) -> None:
    one = fake("--ignore-term", "--child", drain_s=0.1, grace_s=0.3)
    async with here(tmp_path, one) as agent:
        await agent.until_ready(one)
        said = agent.records.log(one.name).read_text()
        child = int(said.split("child ")[1].split()[0])
        assert proc.identify(child) is not None
        await agent.actuator.apply(one.target, LaunchConfig())
        await agent.until_ready(one)
        await until(lambda: not _runs(child))


async def test_what_an_engine_left_behind_when_it_died_is_ended_too(tmp_path: Path) -> None:
    one = fake("--child")
    async with here(tmp_path, one) as agent:
        await agent.until_ready(one)
        before = agent.pid(one)
        child = int(agent.records.log(one.name).read_text().split("child ")[1].split()[0])
        os.kill(before, signal.SIGKILL)
        await until(lambda: not _runs(child))
        await agent.until_ready(one)


async def test_a_crash_at_start_tells_exit_code_and_last_words_without_secrets(tmp_path: Path) -> None:
    one = fake("--gpu-memory-utilization=0.99", env={"HF_TOKEN": "hf_verysecret"})
    async with here(tmp_path, one) as agent:
        with pytest.raises(ActuatorFailed, match="exited with 1 before it had ever answered") as told:
            await agent.until_ready(one)
        assert LAST_WORDS in str(told.value)
        assert "hf_verysecret" not in str(told.value)
        assert "hf_verysecret" not in (agent.records.folder / f"{one.name}.json").read_text()
        await agent.actuator.apply(one.target, LaunchConfig(("--max-num-seqs", "8")))
        await agent.until_ready(one)


async def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    one = replace(fake(), command=("/no/such/program", "--port", "1"))
    async with here(tmp_path, one) as agent:
        with pytest.raises(ActuatorFailed, match="/no/such/program cannot be run: No such file"):
            await agent.until_ready(one)


async def test_an_engine_that_died_is_started_again_and_one_that_keeps_dying_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perfagent.actuators.process.supervisor.BACKOFF_S", 0.05)
    one = fake()
    async with here(tmp_path, one) as agent:
        for _ in range(CRASH_LOOP - 1):
            await agent.until_ready(one)
            died = agent.pid(one)
            await until(lambda: (life := agent.record(one).life) is not None and life.served)
            os.kill(died, signal.SIGKILL)
            await until(lambda died=died: (life := agent.record(one).life) is not None and life.process.pid != died)  # type: ignore[misc]
        await agent.until_ready(one)
        await until(lambda: (life := agent.record(one).life) is not None and life.served)
        os.kill(agent.pid(one), signal.SIGKILL)
        await until(lambda: len(agent.record(one).deaths) == CRASH_LOOP)
        with pytest.raises(ActuatorFailed, match="ended by itself 3 times within 10 minutes"):
            await agent.actuator.ready(one.target)


async def test_without_supervision_the_dead_stay_dead(tmp_path: Path) -> None:
    one = fake(supervise=False)
    async with here(tmp_path, one) as agent:
        await agent.until_ready(one)
        await until(lambda: (life := agent.record(one).life) is not None and life.served)
        os.kill(agent.pid(one), signal.SIGKILL)
        await until(lambda: agent.record(one).life is None)
        with pytest.raises(ActuatorFailed, match="was killed by signal 9 by itself"):
            await agent.actuator.ready(one.target)
        await asyncio.sleep(10 * LOOK_S)
        assert agent.record(one).life is None


async def test_the_next_agent_takes_running_engines_over_as_they_are(tmp_path: Path) -> None:
    one = fake("--max-num-seqs", "8")
    async with here(tmp_path, one) as agent:
        await agent.until_ready(one)
        before = agent.pid(one)
        await agent.rest()
        described_anew = replace(one, launch=LaunchConfig(("--max-num-seqs", "2")))
        async with here(tmp_path, described_anew) as following:
            await following.until_ready(one)
            assert following.pid(one) == before
            assert await following.actuator.read(one.target) == LaunchConfig(("--max-num-seqs", "8"))


async def test_a_number_that_belongs_to_another_process_now_is_not_taken_for_the_engine(tmp_path: Path) -> None:
    one = fake()
    async with here(tmp_path, one, supervised=False) as agent:
        stranger = proc.identify(os.getpid())
        assert stranger is not None
        recycled = Life(replace(stranger, started=stranger.started - 1), one.launch, ordered=True, served=True)
        agent.records.save(one.name, Record(one.launch, recycled))
        agent.supervise()
        await agent.until_ready(one)
        assert agent.pid(one) != os.getpid()
        assert len(agent.record(one).deaths) == 1


async def test_a_port_that_a_stranger_has_is_told_and_the_stranger_left_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        one = fake(port=stranger.getsockname()[1])
        async with here(tmp_path, one) as agent:
            with pytest.raises(ActuatorFailed, match="is taken by a process that the agent did not start"):
                await agent.until_ready(one)
            assert agent.record(one).life is None


async def test_all_of_them_end_when_told_to(tmp_path: Path) -> None:
    both = fake(), fake("--ignore-term", grace_s=0.2)
    async with here(tmp_path, *both) as agent:
        for one in both:
            await agent.until_ready(one)
        pids = [agent.pid(one) for one in both]
        await agent.rest()
        await agent.supervisor.end()
        assert not any(_runs(pid) for pid in pids)
        assert [agent.record(one).life for one in both] == [None, None]


def _runs(pid: int) -> bool:
    found = proc.stat(pid)
    return found is not None and found.state not in "ZX"
