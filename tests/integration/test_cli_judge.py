import json

import pytest
from typer.testing import CliRunner, Result

from perfagent.cli.main import app
from support.captures import FIXTURES

VLLM = FIXTURES / "vllm-0.26.0-h200"
HEALTHY, STARVED = str(VLLM / "chat_healthy"), str(VLLM / "kv_starved")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["judge", *arguments])


def test_a_starved_server_beside_a_healthy_one_is_rolled_back_and_everything_is_told() -> None:
    answer = run("--baseline", HEALTHY, "--canary", STARVED, "--windows", "5", "-o", "json")
    told = json.loads(answer.stdout)
    assert (answer.exit_code, told["verdict"]) == (1, "roll_back")
    assert any(reason.startswith("ttft_s: ") for reason in told["reasons"])
    assert {each["metric"] for each in told["windows"]} == {each["metric"] for each in told["judgements"]}
    assert not any(each["before"] for each in told["windows"])


def test_the_table_says_the_verdict_and_why() -> None:
    answer = run("--baseline", HEALTHY, "--canary", STARVED, "--windows", "5")
    assert answer.stdout.startswith("roll back")
    assert "ttft_s: " in answer.stdout


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
