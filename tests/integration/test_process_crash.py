"""`kill -9` of the agent anywhere in a change of an engine: the next one ends it, with one engine and no other."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perfagent.actuators.process import proc
from support import doomed
from support.machine import fake, free_port, here

MOVES = 8
"""Apply's record; the stop's, and the signal; the end's; the start, its record, its order, and the order's record."""


@pytest.mark.parametrize("number", range(MOVES))
async def test_a_change_that_was_begun_is_ended_by_the_next_agent(number: int, tmp_path: Path) -> None:
    one = fake(*doomed.BEFORE.flags, port=free_port(), drain_s=0.1)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-P", "-m", doomed.__name__, str(tmp_path), str(one.port), str(number)]
    ended = subprocess.run(words, env=env, stdout=subprocess.PIPE, timeout=100)  # noqa: ASYNC221
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == b""
    async with here(tmp_path, one) as agent:
        wanted = await agent.actuator.read(one.target)
        assert wanted == (doomed.BEFORE if number == 0 else doomed.AFTER)
        await agent.until_ready(one)
        assert await agent.actuator.read(one.target) == wanted
        assert _listed(one.port) == [agent.pid(one)]
        assert agent.record(one).deaths == ()


def _listed(port: int) -> list[int]:
    """Processes that have this port on their command line and run the fake engine."""
    found = (proc.identify(int(each)) for each in os.listdir("/proc") if each.isdigit())
    lines = {each.pid: proc.argv(each) for each in found if each is not None}
    return [pid for pid, line in lines.items() if str(port) in line and any("fake_engine" in word for word in line)]
