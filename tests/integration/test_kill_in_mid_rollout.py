"""`kill -9` in the middle of a rollout: another agent on the same data ends it as if nothing had happened.

Everything is real but the servers, which are emulated in a process of their own, forty times as fast as real ones.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.processes import perfagent

REPLICAS = 3
PACE = {"PERFAGENT_SCRAPE_INTERVAL_S": "0.25", "PERFAGENT_WINDOW_S": "10"}
PATIENCE_S = 100.0

State = dict[str, Any]
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[str]]:
    options = ["--replicas", str(REPLICAS), "--preset", "batch-limit", "--port", "0", "--speed", "40"]
    with perfagent(tmp_path, "emulate", *options) as fleet:
        yield fleet.addresses(REPLICAS)


@contextmanager
def agent(tmp_path: Path) -> Iterator[httpx.Client]:
    """An agent on the test's data; it is killed with SIGKILL when the block is left."""
    with perfagent(tmp_path, "serve", "--port", "0", "--data", str(tmp_path / "data"), env=PACE) as running:
        base = f"{running.addresses()[0]}/api/v1"
        with httpx.Client(base_url=base, trust_env=False, timeout=20) as client:
            yield client


def ask(client: httpx.Client, method: str, path: str, body: State | None = None) -> State:
    answer = client.request(method, path, json=body)
    assert answer.is_success, answer.text
    told: State = answer.json()
    return told


def begin(client: httpx.Client, servers: list[str], change: dict[str, int] | None = None) -> str:
    """A rollout of a change, by default of the one that the agent itself proposes."""
    ask(client, "PUT", "/services/chat", {"engine": "vllm", "targets": servers, "actuator": "emulated"})
    wait_for(lambda: bool(client.get("/services/chat/findings").json().get("findings")))
    asked = {"service": "chat", "config_changes": change, "monitoring_duration_seconds": 5}
    workflow: str = ask(client, "POST", "/workflows", asked)["workflow_id"]
    return workflow


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def run_until(client: httpx.Client, workflow: str, reached: Callable[[State], bool]) -> State:
    def happened() -> bool:
        seen.append(ask(client, "GET", f"/workflows/{workflow}"))
        return reached(seen[-1]) or seen[-1]["status"] in ("completed", "rolled_back", "failed", "held", "rejected")

    seen: list[State] = []
    wait_for(happened)
    return seen[-1]


def launched(servers: list[str]) -> list[list[str]]:
    return [httpx.get(f"{server}/emulator/launch", trust_env=False).json()["flags"] for server in servers]


def restarts(servers: list[str]) -> list[int]:
    return [httpx.get(f"{server}/emulator/status", trust_env=False).json()["restarts"] for server in servers]


def test_a_rollout_goes_on_where_its_agent_was_killed(servers: list[str], tmp_path: Path) -> None:
    with agent(tmp_path) as first:
        workflow = begin(first, servers)
        changing = run_until(first, workflow, lambda seen: seen["fleet_percent"] > 0)
        assert changing["status"] == "rolling_out"
    with agent(tmp_path) as second:
        observing = run_until(
            second, workflow, lambda seen: len(seen["rollout_history"]) == 2 and seen["status"] == "monitoring"
        )
        assert observing["status"] == "monitoring"
    with agent(tmp_path) as third:
        ended = run_until(third, workflow, lambda _: False)
    assert ended["status"] == "completed", ended["reason"]
    assert [record["verdict"] for record in ended["rollout_history"]] == ["promote"] * 3
    assert [flags[0] for flags in launched(servers)] == ended["plan"]["flags"] * REPLICAS
    assert restarts(servers) == [1] * REPLICAS


def test_a_rollback_goes_on_where_its_agent_was_killed(servers: list[str], tmp_path: Path) -> None:
    before = launched(servers)
    with agent(tmp_path) as first:
        workflow = begin(first, servers, {"max_num_seqs": 2})
        undoing = run_until(first, workflow, lambda seen: seen["status"] == "rolling_back")
        assert undoing["status"] == "rolling_back", undoing["reason"]
    with agent(tmp_path) as second:
        ended = run_until(second, workflow, lambda _: False)
    assert ended["status"] == "rolled_back", ended["reason"]
    assert [record["verdict"] for record in ended["rollout_history"]] == ["roll_back"]
    assert launched(servers) == before
    assert sorted(restarts(servers)) == [0, 0, 2]
