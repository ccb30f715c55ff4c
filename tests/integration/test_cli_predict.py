import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from perfagent.cli.main import app
from perfagent.forecast import Figure
from support.captures import FIXTURES

ON_GPU = FIXTURES / "vllm-0.26.0-h200"
CLOSED = FIXTURES / "vllm-0.32.0-two-cores" / "kv30_closed"
"""Twelve clients that wait for their answers; small, so quickly predicted."""
HEALTHY = str(ON_GPU / "chat_healthy")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["predict", *arguments])


@cache
def told(*arguments: str) -> dict[str, Any]:
    answer = run("--replay", str(CLOSED), "-o", "json", *arguments)
    assert answer.exit_code == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert isinstance(found, dict)
    return found


def test_the_answer_has_every_figure_with_its_interval_and_today() -> None:
    found = told("--set", "max_num_seqs=4")
    assert set(found) == {
        "target",
        "engine",
        "release",
        "flags",
        "changes",
        "load",
        "predicted",
        "kv_cache_tokens",
        "fit",
        "notes",
    }
    assert (found["target"], found["engine"], found["release"]) == ("kv30_closed", "vllm", "0.32.0")
    assert found["changes"] == {"max_num_seqs": 4}
    assert found["flags"] == ["--max-num-seqs=4"]
    assert found["load"] == {}
    assert set(found["predicted"]) == set(Figure)
    for figure in found["predicted"].values():
        assert set(figure) == {
            "value",
            "low",
            "high",
            "now",
            "twin_now",
            "elasticity",
            "direction_only",
            "direction",
        }
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert found["kv_cache_tokens"]["value"] == found["kv_cache_tokens"]["now"] > 0
    assert set(found["fit"]) == {"pinned", "residual_ratio"}
    assert any(note.startswith("12 clients seem to wait for their answers") for note in found["notes"])


def test_a_change_changes_what_it_should() -> None:
    figures = told("--set", "max_num_seqs=4")["predicted"]
    assert figures["running_mean"]["value"] <= 4
    assert figures["running_mean"]["now"] > 6
    assert figures["waiting_mean"]["direction"] == "up"
    assert figures["itl_mean_s"]["value"] < figures["itl_mean_s"]["twin_now"]


def test_the_same_seed_gives_the_same_answer_in_every_format() -> None:
    again = run("--replay", str(CLOSED), "-o", "yaml", "--set", "max_num_seqs=4", "--seed", "0")
    assert yaml.safe_load(again.stdout) == told("--set", "max_num_seqs=4")


def test_a_table_is_for_people() -> None:
    answer = run("--replay", str(CLOSED), "--load", "scale=0.5,output_tokens=30")
    assert answer.exit_code == 0
    for wanted in (
        "kv30_closed: vllm 0.32.0, scale 0.5 output_tokens 30",
        "ttft_mean_s",
        "now",
        "predicted",
        "KV cache:",
    ):
        assert wanted in answer.stdout
    assert "note: 12 clients seem to wait" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give an address, or --replay with a folder"),
        (["http://127.0.0.1:1", "--replay", HEALTHY], "give an address, or --replay with a folder"),
        (["--replay", "/nowhere"], "no recording"),
        (["ftp://vllm:8000"], "no address"),
        (["http://127.0.0.1:1", "--for", "soon"], "no duration"),
        (["http://127.0.0.1:1", "--engine", "ollama"], "ollama"),
        (["--replay", HEALTHY, "--set", "seats=4"], "--set seats=4: write knob=value; knobs are max_num_seqs"),
        (["--replay", HEALTHY, "--set", "max_num_seqs"], "write knob=value"),
        (["--replay", HEALTHY, "--set", "max_num_seqs=many"], "max_num_seqs takes no 'many'"),
        (["--replay", HEALTHY, "--set", "max_num_seqs=0"], "at least 1"),
        (["--replay", HEALTHY, "--set", "schedule_conservativeness=1"], "schedule_conservativeness"),
        (["--replay", HEALTHY, "--load", "speed=2"], "a load has no 'speed'; say rate_per_s, scale"),
        (["--replay", HEALTHY, "--load", "scale=much"], "--load scale=much: its values are numbers"),
        (["--replay", HEALTHY, "--load", "scale"], "its values are numbers"),
        (["--replay", HEALTHY, "--load", "scale=-1"], "above 0"),
        (["--replay", HEALTHY, "--load", "scale=2,rate_per_s=3"], "not by both"),
        (["--replay", HEALTHY, "--gpu", "h1000"], "there is no data sheet of 'h1000'"),
        (["--replay", HEALTHY, "--model", "params=8e9"], "'params=8e9' is no model: say params=8e9,layers=32"),
        (["--replay", HEALTHY, "--model", "experts=8"], "a model has no 'experts'"),
        (["--replay", HEALTHY, "--set", "gpu_memory_utilization=0.1"], "the server would not start: nothing would be"),
        (
            ["--replay", HEALTHY, "--set", "max_model_len=1000000"],
            "the server would not start: the KV cache would hold",
        ),
        (["--replay", HEALTHY, "--set", "quantization=awq"], "cannot be set on vllm: it takes one of fp8"),
        (["--replay", HEALTHY, "--gpus", "0"], "--gpus"),
    ],
)
def test_wrong_use_exits_with_2_and_says_why(arguments: list[str], reason: str) -> None:
    answer = run(*arguments)
    assert answer.exit_code == 2
    assert reason in answer.stderr
    assert answer.stdout == ""


def test_a_server_that_is_not_there_exits_with_3() -> None:
    answer = run("http://127.0.0.1:1", "--for", "1s")
    assert answer.exit_code == 3
    assert "127.0.0.1:1" in answer.stderr


def test_pages_without_times_need_an_interval(tmp_path: Path) -> None:
    for page in CLOSED.glob("*.prom"):
        shutil.copy(page, tmp_path)
    answer = run("--replay", str(tmp_path))
    assert answer.exit_code == 2
    assert "interval" in answer.stderr


def test_what_is_said_of_gpu_and_model_stands_above_the_recording() -> None:
    """The same bytes hold more tokens where each takes fewer; the refusal tells how many."""

    def tokens(*arguments: str) -> int:
        change = ("--set", "gpu_memory_utilization=0.91", "--set", "max_model_len=9000000")
        answer = run("--replay", HEALTHY, *change, *arguments)
        assert answer.exit_code == 2
        told = re.search(r"would hold (\d+) tokens", answer.stderr)
        assert told is not None, answer.stderr
        return int(told[1])

    recorded = tokens()
    assert recorded > 678_048  # what it holds at a share of 0.9
    assert tokens("--gpu", "h100") < recorded
    assert tokens("--gpus", "2") > recorded
    assert tokens("--model", "params=11e9,layers=20,kv_heads=8,head_dim=128") > recorded
