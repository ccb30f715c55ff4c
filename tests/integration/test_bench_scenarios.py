from dataclasses import replace
from pathlib import Path

import pytest

from perfagent.bench.look import look, write_played
from perfagent.bench.play import Lift, play
from perfagent.bench.scenario import ENGINES, Kind, Scenario, Split, Undrawable, draw, engine_of, kind_of
from perfagent.bench.scenarios import diagnose_scenario, diagnose_scenarios
from perfagent.bench.truth import LEAST_FAILURES, accepted, excused
from perfagent.domain.finding import Cause


def drawn(kind: Kind) -> Scenario:
    """The first that comes out as meant."""
    number = list(Kind).index(kind)
    for attempt in range(20):
        try:
            scenario = draw(0, number, attempt)
        except Undrawable:
            continue
        if accepted(scenario, play(scenario)):
            return scenario
    raise AssertionError(f"{kind} does not come out")


def test_the_same_seed_gives_the_same_outcomes() -> None:
    first, again = (list(diagnose_scenarios(3, [0, 2, 4, 8, 12])) for _ in range(2))
    assert first == again
    assert first[0] != diagnose_scenario(4, 0)


def test_processes_change_nothing_but_the_time() -> None:
    numbers = [0, 1, 5] * 9
    assert list(diagnose_scenarios(0, numbers, workers=2)) == [diagnose_scenario(0, n) for n in numbers[:3]] * 9


def test_every_kind_is_drawn_on_every_engine() -> None:
    pairs = {(kind_of(number), engine_of(number)) for number in range(len(Kind) * len(ENGINES))}
    assert pairs == {(kind, engine) for kind in Kind for engine in ENGINES}


def test_halves_share_nothing_and_do_not_move() -> None:
    tune, test = ({n for n in range(600) if half.has(n)} for half in (Split.TUNE, Split.TEST))
    assert tune | test == {n for n in range(600) if Split.ALL.has(n)} == set(range(600))
    assert not tune & test
    assert 0.4 < len(test) / 600 < 0.6
    assert sorted(test)[:6] == [0, 1, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("kind", "lift"),
    [
        (Kind.BATCH_LIMIT, Lift.BATCH),
        (Kind.KV_CAPACITY, Lift.KV),
        (Kind.PREFILL_BUDGET, Lift.BUDGET),
        (Kind.OVERLOAD, Lift.HARDWARE),
    ],
)
def test_without_its_cause_the_backlog_goes(kind: Kind, lift: Lift) -> None:
    scenario = drawn(kind)
    assert play(scenario, lift).backlog <= 0.5 * play(scenario).backlog


def test_lifting_what_is_not_the_cause_cures_nothing_and_is_not_accepted() -> None:
    scenario = drawn(Kind.BATCH_LIMIT)
    base = play(scenario)
    assert play(scenario, Lift.KV).backlog == base.backlog
    assert accepted(scenario, base) == frozenset({"batch_limit"})


def test_a_queue_is_nothing_healthy() -> None:
    scenario = drawn(Kind.HEALTHY)
    base = play(scenario)
    assert accepted(scenario, base) == frozenset({"none"})
    assert accepted(scenario, play(drawn(Kind.BATCH_LIMIT))) is None


@pytest.mark.parametrize("kind", [Kind.HEALTHY, Kind.LIGHT, Kind.PACKED])
def test_no_gap_is_shorter_than_the_weights_take_to_read(kind: Kind) -> None:
    """So where that is most of a gap, nobody needs to play what the batch costs."""
    scenario = drawn(kind)
    for lift in (None, Lift.DECODE):
        gap_s = play(scenario, lift).itl_s
        assert gap_s is not None
        assert gap_s >= scenario.setup.step_time.base_s


def test_only_what_was_named_is_excused() -> None:
    scenario = drawn(Kind.LIGHT)
    base = replace(play(scenario), open=0.5)
    assert excused(scenario, base, []) == excused(scenario, base, [Cause.OVERLOAD]) == frozenset()
    assert excused(scenario, base, [Cause.UNDERUSED]) == frozenset({"underused"})
    assert excused(scenario, replace(base, open=1.5), [Cause.UNDERUSED]) == frozenset()


def test_a_slow_replica_is_found_among_its_peers(tmp_path: Path) -> None:
    scenario = drawn(Kind.REPLICA_OUTLIER)
    diagnosis = look(write_played(scenario, play(scenario, pages=True), tmp_path))
    assert [finding.cause for finding in diagnosis.findings] == ["replica_outlier"]


@pytest.mark.parametrize(
    ("kind", "too_long", "ranked"),
    [
        (Kind.KV_CAPACITY, 0.3, ["kv_capacity", "errors"]),
        (Kind.LONG_PROMPTS, 0.1, ["long_prompt_interference", "errors"]),
        (Kind.NOISY_HOST, 0.3, ["errors", "host_bound"]),
    ],
)
def test_two_causes_at_once_are_both_told_the_costlier_first(
    kind: Kind, too_long: float, ranked: list[str], tmp_path: Path
) -> None:
    """One request of eleven or of four fails, while the others wait for room, stall, or get their tokens late."""
    scenario = replace(drawn(kind), too_long=too_long)
    played = play(scenario, pages=True)
    assert played.refused >= LEAST_FAILURES
    assert kind.label in (accepted(scenario, replace(played, refused=0)) or ())
    assert [finding.cause for finding in look(write_played(scenario, played, tmp_path)).findings] == ranked


def test_what_is_diagnosed_does_not_tell_what_was_played(tmp_path: Path) -> None:
    """Neither files nor names say a kind, a label or the hidden part of the hardware."""
    scenario = drawn(Kind.ERRORS)
    write_played(scenario, play(scenario, pages=True), tmp_path)
    names = [path.name for path in tmp_path.rglob("*")]
    meta = next(tmp_path.rglob("meta.json")).read_text()
    for word in ("accept", "label", "kind", "truth", "none", scenario.kind.value, str(scenario.workload.seed)):
        assert word not in meta
        assert not any(word in name for name in names)


def test_an_error_or_two_are_no_truth_either_way() -> None:
    scenario = drawn(Kind.ERRORS)
    base = play(scenario)
    assert accepted(scenario, base) == frozenset({"errors"})
    assert accepted(scenario, replace(base, refused=2)) is None
    assert accepted(replace(scenario, kind=Kind.HEALTHY), base) is None
