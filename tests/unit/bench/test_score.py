import pytest

from perfagent.bench.outcome import Outcome, Question
from perfagent.bench.rules import said_by_rules
from perfagent.bench.score import by_rules, score


def outcome(label: str, *said: str, accept: str = "", hours: float = 0.0, rules: str = "none", **of: str) -> Outcome:
    accepted = frozenset({label, *accept.split()})
    question = Question("x", of.get("kind", label), of.get("engine", "vllm"), told=True, label=label, accept=accepted)
    return Outcome(question, said, rules, blind="blind" in of, hours=hours)


def test_the_first_cause_named_counts() -> None:
    outcomes = [
        outcome("kv_capacity", "kv_capacity", "errors"),
        outcome("kv_capacity", "errors", "kv_capacity"),
        outcome("none"),
        outcome("batch_limit"),
    ]
    measured = score(outcomes)
    assert measured.top1.value == 0.5
    assert measured.confusions == (("kv_capacity", "errors", 1), ("batch_limit", "none", 1))


def test_any_cause_that_cures_is_right_and_becomes_the_label() -> None:
    measured = score([outcome("prefill_budget", "overload", accept="overload"), outcome("prefill_budget")])
    assert measured.top1.value == 0.5
    assert measured.causes["overload"].f1 == 1
    assert measured.causes["prefill_budget"].count == 1
    assert measured.causes["prefill_budget"].precision is None


def test_an_alarm_is_false_where_nothing_is_wrong_and_counted_once_per_situation() -> None:
    quiet = [outcome("none", "errors", "overload", hours=1.5), outcome("none", hours=2.5)]
    measured = score([*quiet, outcome("kv_capacity", "errors", hours=100)])
    assert (measured.false_alarms, measured.fault_free_hours) == (1, 4.0)
    assert measured.false_alarms_per_1000_h.value == 250


def test_what_a_recording_accepts_beside_none_is_no_false_alarm() -> None:
    assert score([outcome("none", "overload", accept="overload", hours=1)]).false_alarms == 0


def test_groups_have_their_own_shares() -> None:
    measured = score([outcome("none", engine="tgi"), outcome("errors", engine="tgi"), outcome("none", kind="burst")])
    assert {name: one.value for name, one in measured.engines.items()} == {"tgi": 0.5, "vllm": 1.0}
    assert measured.kinds["burst"].value == 1
    assert measured.causes["none"].recall.value == 1
    assert measured.causes["none"].precision == pytest.approx(2 / 3)


def test_a_miss_that_the_diagnosis_tells_itself_is_counted() -> None:
    assert score([outcome("kv_capacity", blind="yes"), outcome("kv_capacity")]).causes["kv_capacity"].told_blind == 1


def test_the_rules_are_scored_the_same_way() -> None:
    measured = score(
        [outcome("none", rules="batch_limit", hours=1), outcome("batch_limit", rules="batch_limit")], by_rules
    )
    assert (measured.top1.value, measured.false_alarms) == (0.5, 1)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({}, "none"),
        ({"waiting_mean": 0.2}, "batch_limit"),
        ({"waiting_mean": 3, "kv_usage_mean_ratio": 0.95}, "kv_capacity"),
        ({"preemptions_per_min": 0.1}, "kv_capacity"),
        ({"ttft_mean_s": 1.2, "waiting_mean": 0.0}, "prefill_budget"),
        ({"itl_mean_s": 0.06}, "decode_bandwidth"),
        ({"itl_mean_s": 0.02, "ttft_mean_s": 0.1, "kv_usage_mean_ratio": 0.5}, "none"),
    ],
)
def test_a_rule_is_a_threshold(figures: dict[str, float], said: str) -> None:
    assert said_by_rules(figures) == said
