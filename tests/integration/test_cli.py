"""The commands as a user runs them, in processes of their own."""

import json
import signal
import subprocess
from pathlib import Path

import httpx

from support.processes import PERFAGENT, perfagent


def test_a_live_server_is_diagnosed(tmp_path: Path) -> None:
    with perfagent(tmp_path, "emulate", "--replicas", "2", "--port", "0", "--speed", "20") as fleet:
        addresses = [f"{address}/metrics" for address in fleet.addresses(2)]
        command = [str(PERFAGENT), "diagnose", *addresses, "--for", "6s", "-o", "json", "--fail-on", "high"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert answer.returncode == 1, answer.stderr
    told = json.loads(answer.stdout)
    assert (told["engine"], told["target"]) == ("vllm", "2 servers")
    assert told["findings"][0]["cause"] == "batch_limit"
    assert told["proposals"][0]["flags"][0].startswith("--max-num-seqs=")
    assert [replica["causes"][0] for replica in told["replicas"]] == ["batch_limit"] * 2


def test_what_was_recorded_is_diagnosed_later(tmp_path: Path) -> None:
    with perfagent(tmp_path, "emulate", "--engine", "sglang", "--replicas", "1", "--port", "0", "--speed", "20") as one:
        recording = str(tmp_path / "recording")
        command = [str(PERFAGENT), "record", *one.addresses(), "--out", recording, "--for", "5s", "--every", "0.5s"]
        subprocess.run(command, check=True, timeout=90)
    command = [str(PERFAGENT), "diagnose", "--replay", recording, "-o", "json"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=90).stdout)
    assert (told["engine"], told["target"]) == ("sglang", "recording")
    assert told["window_s"] > 4
    assert told["findings"][0]["cause"] == "batch_limit"


def test_an_agent_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    with perfagent(tmp_path, "serve", "--port", "0", "--data", str(tmp_path / "data")) as agent:
        address = agent.addresses()[0]
        assert httpx.get(f"{address}/api/v1/health/live", trust_env=False).json() == {"status": "alive"}
        assert httpx.get(f"{address}/metrics", trust_env=False).is_success
        with perfagent(tmp_path, "serve", "--port", address.rsplit(":", 1)[1], "--data", str(tmp_path / "b")) as third:
            assert third.process.wait(timeout=60) == 2
            assert "cannot be listened on" in third.said.read_text()
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(timeout=60) == 0
        assert "Traceback" not in agent.said.read_text()
