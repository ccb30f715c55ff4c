import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from perfagent.cli.main import app
from support.captures import FIXTURES

RECORDINGS = FIXTURES / "vllm-0.26.0-h200"
STARVED = RECORDINGS / "kv_starved"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["diagnose", "--no-twin", *arguments])


def test_every_format_tells_the_same() -> None:
    as_json, as_yaml = (run("--replay", str(STARVED), "-o", form) for form in ("json", "yaml"))
    assert json.loads(as_json.stdout) == yaml.safe_load(as_yaml.stdout)
    table = run("--replay", str(STARVED)).stdout
    told = json.loads(as_json.stdout)
    assert told["findings"][0]["cause"] == "kv_capacity"
    for wanted in ("kv_capacity", "critical", told["proposals"][0]["flags"][0].split("=")[0]):
        assert wanted in table


@pytest.mark.parametrize(
    ("recording", "least", "code"),
    [("kv_starved", "critical", 1), ("rag_bt512", "high", 1), ("rag_bt512", "critical", 0), ("chat_healthy", "low", 0)],
)
def test_a_script_can_stop_on_findings(recording: str, least: str, code: int) -> None:
    assert run("--replay", str(RECORDINGS / recording), "--fail-on", least).exit_code == code


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give addresses, or --replay"),
        (["http://127.0.0.1:1", "--replay", "x"], "give addresses, or --replay"),
        (["--replay", "/nowhere"], "no recording"),
        (["ftp://vllm:8000"], "no address"),
        (["http://user:secret@vllm:8000"], "no credentials"),
        (["http://127.0.0.1:1", "--flags", "--model 'a"], "no command line"),
        (["http://127.0.0.1:1", "--for", "soon"], "no duration"),
        (["http://127.0.0.1:1", "--engine", "ollama"], "ollama"),
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
    for page in STARVED.glob("*.prom"):
        shutil.copy(page, tmp_path)
    assert run("--replay", str(tmp_path)).exit_code == 2
    told = json.loads(run("--replay", str(tmp_path), "--interval", "15s", "-o", "json").stdout)
    assert told["window_s"] == 15 * (len(list(STARVED.glob("*.prom"))) - 1)
    assert told["findings"][0]["cause"] == "kv_capacity"
