"""Rollouts on real processes, end to end: the `perfagent` command with a services file, and emulated engines that are
processes with an engine's flags, twenty times as fast as real ones."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from perfagent.actuators.process import Records, proc
from support.machine import free_port
from support.processes import PERFAGENT, perfagent

REPLICAS = 3
OBSERVED_S = 8.0
PATIENCE_S = 200.0
SETTINGS = {"PERFAGENT_SCRAPE_INTERVAL_S": "0.25", "PERFAGENT_WINDOW_S": "10", "PERFAGENT_LEASE_S": "3"}
ENDED = ("completed", "rolled_back", "failed", "rejected")
BEFORE = ["--max-model-len=16384", "--max-num-seqs=8"]

State = dict[str, Any]
pytestmark = pytest.mark.timeout(500)


def described(folder: Path, ports: list[int]) -> Path:
    command = [str(PERFAGENT), "emulate", "--replicas", "1", "--speed", "20", "--port", "{port}", "--"]
    process = {
        "command": command,
        "flags": BEFORE,
        "env": {"HF_TOKEN": "hf_verysecret"},
        "inherit": ["PATH", "HOME", "PYTHONPATH"],
        "replicas": [{"port": port} for port in ports],
        "drain_s": 0.5,
        "grace_s": 5,
    }
    path = folder / "services.yaml"
    path.write_text(
        yaml.safe_dump({"services": {"chat": {"engine": "vllm", "policy": {"stages": [30, 100]}, "process": process}}})
    )
    return path


@contextmanager
def agent(folder: Path, services: Path) -> Iterator[Callable[..., State]]:
    """`perfagent serve` with the services file, and a caller of its API; ended with `kill -9`."""
    options = ["--port", "0", "--data", str(folder / "data"), "--services", str(services)]
    with perfagent(folder, "serve", *options, env=SETTINGS) as running:
        base = f"{running.addresses()[0]}/api/v1"
        with httpx.Client(base_url=base, trust_env=False, timeout=60) as client:

            def ask(method: str, path: str, body: State | None = None) -> State:
                answer = client.request(method, path, json=body)
                assert answer.is_success, answer.text
                told: State = answer.json()
                return told

            yield ask


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[list[int]]:
    chosen = [free_port() for _ in range(REPLICAS)]
    yield chosen
    for name in (f"chat-{port}" for port in chosen):
        record = Records(tmp_path / "data" / "processes").load(name)
        if record is not None and record.life is not None:
            proc.kill_group(record.life.process)


def wait_for(happened: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.1)


def lives(folder: Path, ports: list[int]) -> list[tuple[int, list[str]]]:
    """Each replica's process number and flags, as the machine tells them."""
    found = []
    for port in ports:
        record = Records(folder / "data" / "processes").load(f"chat-{port}")
        assert record is not None
        assert record.life is not None
        line = proc.argv(record.life.process)
        found.append((record.life.process.pid, list(line[line.index("--") + 1 :])))
    return found


def test_rollouts_restart_processes_survive_the_agent_and_are_rolled_back(tmp_path: Path, ports: list[int]) -> None:
    services = described(tmp_path, ports)

    def scraped(ask: Callable[..., State]) -> bool:
        told = ask("GET", "/services/chat")
        return all(replica["trouble"] is None for replica in told["targets"])

    with agent(tmp_path, services) as ask:
        wait_for(lambda: scraped(ask))
        before = lives(tmp_path, ports)
        assert [flags for _, flags in before] == [BEFORE] * REPLICAS
        body = {
            "service": "chat",
            "config_changes": {"max_num_seqs": 64},
            "auto_rollout": False,
            "monitoring_duration_seconds": OBSERVED_S,
        }
        workflow = ask("POST", "/workflows", body)["workflow_id"]
        _go_on(ask, workflow, stages=(30,))
    first, *others = lives(tmp_path, ports)
    with agent(tmp_path, services) as ask:
        assert lives(tmp_path, ports) == [first, *others]
        _go_on(ask, workflow, stages=(100,))
        wait_for(lambda: ask("GET", f"/workflows/{workflow}")["status"] in ENDED)
        ended = ask("GET", f"/workflows/{workflow}")
        assert ended["status"] == "completed", ended["reason"]
        after = lives(tmp_path, ports)
        assert [flags for _, flags in after] == [["--max-model-len=16384", "--max-num-seqs=64"]] * REPLICAS
        assert not {pid for pid, _ in before} & {pid for pid, _ in after}
        broken = {
            "service": "chat",
            "config_changes": {"kv_cache_tokens": 10},
            "monitoring_duration_seconds": OBSERVED_S,
        }
        workflow = ask("POST", "/workflows", broken | {"auto_rollout": False})["workflow_id"]
        wait_for(lambda: ask("GET", f"/workflows/{workflow}")["status"] in ENDED)
        ended = ask("GET", f"/workflows/{workflow}")
        assert ended["status"] == "rolled_back", ended["reason"]
        assert "does not start with the change" in ended["reason"]
        assert "exited with 2 before it had ever answered" in ended["reason"]
        assert "decreasing `max_model_len`" in ended["reason"]
        assert [flags for _, flags in lives(tmp_path, ports)] == [flags for _, flags in after]
        assert "hf_verysecret" not in str(ask("GET", f"/workflows/{workflow}"))
    still = [identity for pid, _ in lives(tmp_path, ports) if (identity := proc.identify(pid)) is not None]
    assert [proc.runs(each) for each in still] == [True] * REPLICAS
    options = ["--services", str(services), "--data", str(tmp_path / "data")]
    with perfagent(tmp_path, "stop", *options) as stopping:
        assert stopping.process.wait(PATIENCE_S) == 0
    assert not any(proc.runs(each) for each in still)
    assert b"hf_verysecret" not in b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*.*"))


def _go_on(ask: Callable[..., State], workflow: str, stages: tuple[int, ...]) -> None:
    """Promote these stages, each once its replicas have the change."""
    for percent in stages:
        done = {30: 1, 100: 2}[percent]

        def applied(done: int = done) -> bool:
            told = ask("GET", f"/workflows/{workflow}")
            assert told["status"] not in ENDED, told["reason"]
            return [event["kind"] for event in told["events"]].count("applied") >= done

        wait_for(applied)
        ask("POST", f"/workflows/{workflow}/promote", {"who": "ann", "why": "a test", "stage": percent})
