from perfagent.bench.evidence import needed
from perfagent.bench.outcome import Outcome, Question


def outcome(label: str, said: str | None, without: dict[str, bool] | None = None) -> Outcome:
    question = Question("x", label, "vllm", told=True, label=label, accept=frozenset({label}))
    return Outcome(question, (said,) if said else (), "none", blind=False, hours=0.0, right_without=without)


def test_each_cause_tells_what_it_was_lost_without_most_needed_first() -> None:
    of = needed(
        [
            outcome("errors", "errors", {"flags": True, "running": False, "waiting": False}),
            outcome("errors", "errors", {"flags": True, "running": True, "waiting": False}),
            outcome("overload", "overload", {"running": True}),
        ]
    ).causes
    assert of["errors"].right == 2
    assert [(piece, share.value) for piece, share in of["errors"].lost_without.items()] == [
        ("waiting", 1.0),
        ("running", 0.5),
    ]
    assert of["overload"].lost_without == {}


def test_top1_is_what_is_left_of_all_answers() -> None:
    outcomes = [
        outcome("errors", "errors", {"running": False, "waiting": True}),
        outcome("errors", "errors", {"running": True, "itl_s": True}),
        outcome("errors", "overload"),
        outcome("none", None),
    ]
    left = needed(outcomes).top1_without
    assert [(piece, share.value) for piece, share in left.items()] == [
        ("running", 0.5),
        ("itl_s", 0.75),
        ("waiting", 0.75),
    ]


def test_where_nothing_was_left_out_nothing_is_known() -> None:
    assert needed([outcome("none", None)]) == needed([])
