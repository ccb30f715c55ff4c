import json

import pytest
import yaml
from typer.testing import CliRunner, Result

from perfagent.cli.main import app
from support.captures import FIXTURES


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", "diagnosis", *arguments])


def test_every_format_tells_the_same() -> None:
    few = ("--scenarios", "3", "--split", "all", "--recordings", str(FIXTURES))
    as_json, as_yaml, table = (run(*few, "-o", form) for form in ("json", "yaml", "table"))
    told = json.loads(as_json.stdout)
    assert told == yaml.safe_load(as_yaml.stdout)
    assert told["scenarios"]["agent"]["count"] + told["scenarios"]["dropped"] == 3
    assert len(told["scenarios"]["wrong"]) == sum(count for _, _, count in told["scenarios"]["agent"]["confusions"])
    assert {one["name"] for one in told["recordings"]["each"]} >= {"vllm-0.26.0-h200/kv_starved"}
    for wanted in ("3 scenarios", "top-1", "macro-F1", "false alarms", "simple rules", "recordings"):
        assert wanted in table.stdout


def test_recordings_alone_need_no_scenario() -> None:
    told = json.loads(run("--scenarios", "0", "--recordings", str(FIXTURES), "-o", "json").stdout)
    assert told["scenarios"]["agent"]["count"] == 0
    assert told["scenarios"]["agent"]["top1"]["value"] is None


def test_what_right_answers_needed_is_told_when_it_is_asked_for() -> None:
    few = ("--scenarios", "0", "--recordings", str(FIXTURES / "vllm-0.26.0-h200"))
    told = json.loads(run(*few, "--ablation", "-o", "json").stdout)
    recorded = told["recordings"]
    needed = recorded["ablation"]["causes"]["kv_capacity"]["lost_without"]
    assert needed["running"]["value"] == 1
    assert recorded["ablation"]["top1_without"]["running"]["value"] < recorded["agent"]["top1"]["value"]
    assert told["scenarios"]["ablation"] == {"causes": {}, "top1_without": {}}
    assert "ablation" not in json.loads(run(*few, "-o", "json").stdout)["recordings"]
    assert "share of these lost without" in run(*few, "--ablation").stdout


def test_quiet_hours_are_watched_and_counted() -> None:
    hour = ("--scenarios", "0", "--seed", "5", "--quiet-hours", "1")
    told = json.loads(run(*hour, "-o", "json").stdout)["quiet_hours"]
    assert (told["stretches"], told["fault_free_hours"]) == (1, 1.0)
    assert told["distinct_alarms"] == len(told["alarms"])
    assert told["false_alarms_per_1000_h"]["value"] == 1000 * told["false_alarms"]
    assert "watched live" in run(*hour).stdout


@pytest.mark.parametrize(
    "arguments", [("--quiet-hours", "-1"), ("--recordings", "/nowhere"), ("--split", "half"), ("--scenarios", "-1")]
)
def test_wrong_use_exits_with_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_the_judge_is_measured_on_whole_rollouts_beside_incumbents() -> None:
    few = ("bench", "judge", "--fleets", "1", "--noise", "few requests")
    told = json.loads(CliRunner().invoke(app, [*few, "-o", "json"]).stdout)
    assert {row["design"] for row in told["overall"]} == {"1/10", "2/10", "5/10", "1 alone", "1/2", "1/3", "1/4"}
    for row in told["overall"]:
        ends = ("rolled_back", "promoted", "held", "refused")
        assert sum(row[end]["value"] for end in ends) == row["rollouts"] == 1
    table = CliRunner().invoke(app, list(few)).stdout
    assert "rolled back by incumbents' rules" in table
    assert CliRunner().invoke(app, ["bench", "judge", "--noise", "thunder"]).exit_code == 2
