import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from perfagent.cli.main import app
from support.captures import FIXTURES

VLLM = FIXTURES / "vllm-0.26.0-h200"
HEALTHY, STARVED = str(VLLM / "chat_healthy"), str(VLLM / "kv_starved")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["judge", *arguments])


@pytest.fixture
def slower(tmp_path: Path) -> str:
    """The healthy recording, as if every first token had taken ten times as long."""
    shutil.copytree(HEALTHY, tmp_path / "slower")
    for page in (tmp_path / "slower").glob("*.prom"):
        told = re.sub(
            r"(?m)^(vllm:time_to_first_token_seconds_sum\{.*\}) (.*)$",
            lambda found: f"{found[1]} {10 * float(found[2])}",
            page.read_text(),
        )
        page.write_text(told)
    return str(tmp_path / "slower")


def test_a_slower_canary_is_rolled_back_and_everything_is_told(slower: str) -> None:
    answer = run("--baseline", HEALTHY, "--canary", slower, "--windows", "5", "-o", "json")
    told = json.loads(answer.stdout)
    assert (answer.exit_code, told["verdict"]) == (1, "roll_back")
    assert [reason.split(":")[0] for reason in told["reasons"]] == ["ttft_s"]
    assert {each["metric"] for each in told["windows"]} == {each["metric"] for each in told["judgements"]}
    assert not any(each["before"] for each in told["windows"])


def test_the_table_says_the_verdict_and_why(slower: str) -> None:
    answer = run("--baseline", HEALTHY, "--canary", slower, "--windows", "5")
    assert answer.stdout.startswith("roll back")
    assert "ttft_s: " in answer.stdout


def test_servers_with_other_work_are_not_compared() -> None:
    answer = run("--baseline", HEALTHY, "--canary", STARVED, "--windows", "5")
    assert answer.stdout.startswith("hold")
    assert "not comparable: generation_length_tokens of the canary is 71.6% longer" in answer.stdout


def test_two_recordings_prove_little_and_a_hold_is_no_success() -> None:
    answer = run("--baseline", HEALTHY, "--canary", HEALTHY, "--windows", "5", "-o", "json")
    assert (answer.exit_code, json.loads(answer.stdout)["verdict"]) == (1, "hold")
    watched = run("--baseline", HEALTHY, "--canary", HEALTHY, "--windows", "5", "--rule", "no_harm")
    assert (watched.exit_code, watched.stdout.split("\n")[0]) == (0, "promote")


def test_a_folder_of_recordings_counts_as_all_of_them_and_rehearsals_are_counted() -> None:
    answer = run("--baseline", str(VLLM), "--rehearse", "15s", "--past", "10s", "-o", "json")
    told = json.loads(answer.stdout)
    assert answer.exit_code == 0
    assert told["rehearsals"] % 3 == 0
    assert sum(told["verdicts"].values()) == told["rehearsals"] > 0
    assert (
        "rehearsals in which nothing was changed"
        in run("--baseline", str(VLLM), "--rehearse", "15s", "--past", "10s").stdout
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--baseline", HEALTHY),
        ("--baseline", HEALTHY, "--canary", "/nowhere"),
        ("--baseline", HEALTHY, "--canary", STARVED, "--past", "2h"),
        ("--baseline", HEALTHY, "--rehearse", "15s"),
    ],
)
def test_wrong_use_exits_with_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
