"""The benchmark of forecasts, on recordings of real servers."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from perfagent.bench.accuracy import Compared, accuracy
from perfagent.bench.forecasts import compare, groups, siblings
from perfagent.cli.main import app
from perfagent.domain.knob import Knob
from perfagent.forecast import Figure
from support.captures import FIXTURES

H200 = FIXTURES / "vllm-0.26.0-h200"


def test_siblings_are_recordings_of_one_server_in_both_directions() -> None:
    pairs = siblings(FIXTURES)
    assert (H200 / "chat_healthy", H200 / "kv_starved") in pairs
    assert (H200 / "kv_starved", H200 / "chat_healthy") in pairs
    assert all(a.parent == b.parent and a != b for a, b in pairs)
    assert not any("restart" in (a.name, b.name) for a, b in pairs)  # two processes


def test_a_server_with_room_foretells_itself_short_of_cache() -> None:
    found = {one.figure: one for one in compare(H200 / "chat_healthy", H200 / "kv_starved")}
    assert set(found) == {Figure.THROUGHPUT, Figure.ITL_MEAN, Figure.TTFT_MEAN, Figure.E2E_MEAN}
    for one in found.values():
        assert one.change == ((Knob.GPU_MEMORY_UTILIZATION, 0.25),)
        assert one.same_types
        assert not one.same_load
        assert one.holds, one
    assert abs(found[Figure.THROUGHPUT].error) < 0.1


def test_a_flag_that_would_have_to_be_taken_away_foretells_nothing() -> None:
    kv80, medium = (FIXTURES / "vllm-0.32.0-two-cores" / name for name in ("kv80", "healthy_medium"))
    assert compare(kv80, medium) == []


ONE = Compared("a", "b", (), True, True, Figure.THROUGHPUT, 110.0, 100.0, 120.0, 100.0, False, 80.0, 160.0)


def test_accuracy_is_of_what_was_told_and_intervals_of_all() -> None:
    missed = replace(ONE, predicted=150.0, low=140.0, high=160.0)
    vague = replace(ONE, predicted=900.0, low=10.0, high=9000.0, direction_only=True)
    rows = {(row.group, row.figure): row for row in accuracy(groups([ONE, missed, vague]))}
    row = rows["kernels unchanged", Figure.THROUGHPUT]
    assert (row.forecasts, row.told) == (3, 2)
    assert row.median_error == pytest.approx(0.3)
    assert row.holds.value == pytest.approx(2 / 3)
    assert row.goal == 0.05
    assert row.unchanged_error == pytest.approx(0.2)
    assert row.in_proportion_error == pytest.approx(0.6)
    assert rows["same load, kernels unchanged", Figure.THROUGHPUT].forecasts == 3
    assert ("data type changed", Figure.THROUGHPUT) not in rows


def test_it_is_a_command() -> None:
    answer = CliRunner().invoke(app, ["bench", "twin", "--recordings", str(H200), "-o", "json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told["pairs"] == 6
    assert {row["group"] for row in told["accuracy"]} == {"kernels unchanged"}
    empty = CliRunner().invoke(app, ["bench", "twin", "--recordings", str(H200 / "kv_starved")])
    assert empty.exit_code == 2
    assert "no two recordings of one server" in empty.output
