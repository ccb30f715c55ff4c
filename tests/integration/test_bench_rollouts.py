"""A few of the rollouts that `perfagent bench rollout` plays."""

import json

import pytest
from typer.testing import CliRunner

from perfagent.bench import rollouts
from perfagent.bench.changes import KINDS, Truth, kind_of
from perfagent.bench.fleets import NOISES
from perfagent.bench.rollouts import End, play, play_all
from perfagent.cli.main import app
from perfagent.domain.errors import Conflict
from perfagent.workflows.manager import Manager
from perfagent.workflows.model import Request, Rollout


def numbers(kind: str) -> list[int]:
    return [number for number in range(300) if kind_of(number).name == kind]


def test_what_does_not_start_is_undone_at_the_first_stage_through_deaths_of_agents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rollouts, "DIES", 0.2)
    monkeypatch.setattr(rollouts, "MOST", 8)
    endings = [play(3, number) for number in numbers("exits at start")[:5]]
    begun = [each for each in endings if each.end is not End.REFUSED]
    assert {each.end for each in begun} == {End.ROLLED_BACK}
    assert not any(each.widened or each.half_applied or each.broken for each in endings)
    assert sum(each.deaths for each in begun) > 2


def test_an_improvement_goes_to_every_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "NOISES", {"offsets of 5 %": NOISES["offsets of 5 %"]})
    monkeypatch.setattr(rollouts, "OWN_RESTARTS_S", rollouts.OWN_RESTARTS_S[:1])
    monkeypatch.setattr(rollouts, "FEWEST", 8)
    monkeypatch.setattr(rollouts, "MOST", 10)
    ending = play(3, numbers("30 % quicker")[0])
    assert (ending.end, ending.percent, ending.widened, ending.half_applied) == (End.PROMOTED, 100, True, 0)


def test_the_same_seed_gives_the_same_endings_on_any_number_of_workers() -> None:
    few = numbers("exits at start")[:3]
    assert list(play_all(5, few, workers=1)) == list(play_all(5, few, workers=2))


def test_a_manager_that_lets_a_second_rollout_in_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    create = Manager.create

    def lax(self: Manager, request: Request) -> Rollout:
        try:
            return create(self, request)
        except Conflict:
            return self.rollouts()[0]

    monkeypatch.setattr(Manager, "create", lax)
    monkeypatch.setattr(rollouts, "FEWEST", 8)
    assert play(3, numbers("exits at start")[0]).broken == ("a service had two rollouts at a time",)


def test_the_command_tells_every_kind_and_each_rollout() -> None:
    told = json.loads(
        CliRunner().invoke(app, ["bench", "rollout", "--rollouts", "2", "--seed", "25", "-o", "json"]).stdout
    )
    assert [row["kind"] for row in told["kinds"]] == [kind.name for kind in KINDS]
    assert sum(row["rollouts"] for row in told["truths"]) == len(told["each"]) == 2
    assert {row["truth"] for row in told["truths"]} == set(Truth)
    assert (told["half_applied"], told["broken"]) == (0, [])
    table = CliRunner().invoke(app, ["bench", "rollout", "--rollouts", "1", "--seed", "25"]).stdout
    assert "left half applied: 0 rollouts" in table
    assert CliRunner().invoke(app, ["bench", "rollout", "--rollouts", "0"]).exit_code == 2
