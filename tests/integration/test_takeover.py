"""`kill -9` of the agent that acts: another one on the same store ends its rollout as if nothing had happened.

Everything is real but the servers, which are emulated in a process of their own, forty times as fast as real ones.
How long each takeover took is printed (`pytest -s`); the bound on it leaves room for a machine with much else to do.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.processes import Running, perfagent

REPLICAS = 3
LEASE_S = 3.0
SETTINGS = {"PERFAGENT_SCRAPE_INTERVAL_S": "0.25", "PERFAGENT_WINDOW_S": "10", "PERFAGENT_LEASE_S": str(LEASE_S)}
OBSERVED_S = 8.0
PATIENCE_S = 100.0
ENDED = ("completed", "rolled_back", "failed", "held", "rejected")

State = dict[str, Any]
pytestmark = pytest.mark.timeout(400)


@dataclass
class Agent:
    """A process of its own, and a caller of its API."""

    running: Running
    client: httpx.Client

    def ask(self, method: str, path: str, body: State | None = None) -> State:
        answer = self.client.request(method, path, json=body)
        assert answer.is_success, answer.text
        told: State = answer.json()
        return told

    @property
    def acts(self) -> bool:
        role: str = self.ask("GET", "/health/detailed")["lease"]["role"]
        return role == "acting"

    def events(self, workflow: str) -> list[str]:
        return [event["kind"] for event in self.ask("GET", f"/workflows/{workflow}")["events"]]


@dataclass
class Agents:
    """Two agents on one store: one acts, one stands by, and for one that was killed another comes."""

    folder: Path
    settings: dict[str, str]
    stack: ExitStack
    took_s: list[float] = field(default_factory=list)
    """How long each takeover took."""

    def __post_init__(self) -> None:
        self.acting = self.start()
        wait_for(lambda: self.acting.acts)
        self.standing_by = self.start()

    def start(self) -> Agent:
        arguments = () if "PERFAGENT_DATABASE_URL" in self.settings else ("--data", str(self.folder / "data"))
        running = self.stack.enter_context(
            perfagent(self.folder, "serve", "--port", "0", *arguments, env=SETTINGS | self.settings)
        )
        base = f"{running.addresses()[0]}/api/v1"
        return Agent(running, self.stack.enter_context(httpx.Client(base_url=base, trust_env=False, timeout=30)))

    def stop(self, how: signal.Signals) -> Agent:
        """Send the agent that acts a signal, and wait until the other one acts; the one that was stopped."""
        stopped = self.acting
        stopped.running.process.send_signal(how)
        began_s = time.monotonic()
        wait_for(lambda: self.standing_by.acts, every_s=0.02)
        self.took_s.append(time.monotonic() - began_s)
        self.acting = self.standing_by
        return stopped

    def kill(self) -> None:
        """Kill the agent that acts, and start another when the one that stood by acts."""
        self.stop(signal.SIGKILL)
        self.standing_by = self.start()

    def begin(self, servers: list[str]) -> str:
        """A rollout of a change, asked of the agent that stands by; a person promotes each stage.

        It waits until the service has been seen for twice the observation, so that is short.
        """
        asked = self.standing_by
        asked.ask("PUT", "/services/chat", {"engine": "vllm", "targets": servers, "actuator": "emulated"})
        body = {
            "service": "chat",
            "config_changes": {"max_num_seqs": 64},
            "auto_rollout": False,
            "monitoring_duration_seconds": OBSERVED_S,
        }
        workflow: str = asked.ask("POST", "/workflows", body)["workflow_id"]
        return workflow

    def say(self, workflow: str, verb: str, **more: int) -> None:
        """Tell the agent that stands by."""
        self.standing_by.ask("POST", f"/workflows/{workflow}/{verb}", {"who": "ann", "why": "a test", **more})

    def until(self, workflow: str, kind: str, times: int = 1) -> None:
        """Wait for an event of this kind."""
        wait_for(lambda: self.acting.events(workflow).count(kind) >= times)

    def end(self, workflow: str) -> State:
        """The rollout at its end, about which both agents agree."""
        wait_for(lambda: self.acting.ask("GET", f"/workflows/{workflow}")["status"] in ENDED)
        ended = self.acting.ask("GET", f"/workflows/{workflow}")
        assert self.standing_by.ask("GET", f"/workflows/{workflow}") == ended
        return ended


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[str]]:
    options = ["--replicas", str(REPLICAS), "--preset", "batch-limit", "--port", "0", "--speed", "40"]
    with perfagent(tmp_path, "emulate", *options) as fleet:
        yield fleet.addresses(REPLICAS)


@pytest.fixture(params=["sqlite", "postgres"])
def agents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agents]:
    settings = {}
    if request.param == "postgres":
        settings["PERFAGENT_DATABASE_URL"] = request.getfixturevalue("server").new_database()
    with ExitStack() as stack:
        found = Agents(tmp_path, settings, stack)
        yield found
        told = ", ".join(f"{each:.1f}" for each in found.took_s)
        print(f"\n{request.param}, lease {LEASE_S:.0f} s: another agent acted after {told} s")
        assert max(found.took_s, default=0.0) < LEASE_S + PATIENCE_S / 2


def wait_for(happened: Callable[[], bool], every_s: float = 0.1) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(every_s)


def launched(servers: list[str]) -> list[list[str]]:
    return [httpx.get(f"{server}/emulator/launch", trust_env=False).json()["flags"] for server in servers]


def restarts(servers: list[str]) -> list[int]:
    return [httpx.get(f"{server}/emulator/status", trust_env=False).json()["restarts"] for server in servers]


def test_a_rollout_goes_on_wherever_the_agents_that_act_are_killed(agents: Agents, servers: list[str]) -> None:
    workflow = agents.begin(servers)
    for transition in ("touching", "applied"):
        agents.until(workflow, transition)
        agents.kill()
    for stage, percent in enumerate((10, 50, 100), start=1):
        agents.until(workflow, "applied", stage)
        agents.say(workflow, "promote", stage=percent)
        if percent == 10:
            agents.kill()
    ended = agents.end(workflow)
    assert ended["status"] == "completed", ended["reason"]
    assert [record["verdict"] for record in ended["rollout_history"]] == ["promote"] * 3
    assert [flags[0] for flags in launched(servers)] == ["--max-num-seqs=64"] * REPLICAS
    assert restarts(servers) == [1] * REPLICAS


def test_a_rollback_goes_on_where_the_agent_that_acts_is_killed(agents: Agents, servers: list[str]) -> None:
    before = launched(servers)
    workflow = agents.begin(servers)
    agents.until(workflow, "applied")
    agents.say(workflow, "abort")
    agents.kill()
    ended = agents.end(workflow)
    assert ended["status"] == "rolled_back", ended["reason"]
    assert [record["verdict"] for record in ended["rollout_history"]] == ["roll_back"]
    assert launched(servers) == before
    assert sorted(restarts(servers)) == [0, 0, 2]


@pytest.mark.parametrize("agents", ["postgres"], indirect=True)
def test_an_agent_that_slept_through_its_lease_does_no_harm_when_it_wakes(agents: Agents, servers: list[str]) -> None:
    """Not with SQLite: a process that is stopped while it writes keeps the file from all others until it goes on."""
    workflow = agents.begin(servers)
    agents.until(workflow, "applied")
    before = restarts(servers)
    sleeper = agents.stop(signal.SIGSTOP)
    agents.acting.ask("POST", f"/workflows/{workflow}/promote", {"who": "ann", "why": "a test", "stage": 10})
    agents.until(workflow, "applied", times=2)
    after = restarts(servers)
    assert sum(after) == sum(before) + 1
    sleeper.running.process.send_signal(signal.SIGCONT)
    turns = sleeper.ask("GET", "/health/detailed")["loop"]["turns"]
    wait_for(lambda: sleeper.ask("GET", "/health/detailed")["loop"]["turns"] > turns + 3)
    assert not sleeper.acts
    assert sleeper.ask("GET", f"/workflows/{workflow}") == agents.acting.ask("GET", f"/workflows/{workflow}")
    assert restarts(servers) == after
