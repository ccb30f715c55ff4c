import json
from dataclasses import replace
from math import exp
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.finding import Cause
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import FORECAST, Effect
from perfagent.domain.verdict import PairedWindow, StageVerdict, Verdict
from perfagent.forecast import wider
from perfagent.workflows.ledger import FEWEST, MOST_PROMOTED, Entry, entries, promoted, widening
from perfagent.workflows.model import Phase, Request, Rollout, StageRecord
from support.api import Site
from support.rollout_events import PLAN

SOONER = Effect(Metric.TTFT, 0.2, 0.6, FORECAST)
MORE = Effect(Metric.GENERATION_TOKENS, 1.1, 1.5, FORECAST)


def window(metric: Metric, changed: float | None, unchanged: float | None, count: float = 100.0) -> PairedWindow:
    return PairedWindow(0.0, 30.0, metric, unchanged, changed, count, count, 3, 1)


def record(percent: int, *windows: PairedWindow) -> StageRecord:
    look = StageVerdict(Verdict.PROMOTE, ("fine",), (), windows)
    return StageRecord(percent, percent, ("a",), 0.0, looks=(look,))


def rollout(*records: StageRecord, effects: tuple[Effect, ...] = (SOONER,), number: int = 1) -> Rollout:
    plan = replace(PLAN, effects=effects)
    return Rollout(f"r{number}", Request("chat", "ann"), float(number), 0.0, plan=plan, history=records)


def test_what_was_expected_stands_beside_what_was_measured() -> None:
    (entry,) = entries([rollout(record(10, window(Metric.TTFT, 0.3, 1.0), window(Metric.TTFT, 0.5, 1.0)))])
    assert (entry.rollout, entry.service, entry.engine) == ("r1", "chat", "vllm")
    assert entry.change == ((Knob.MAX_NUM_SEQS, 64),)
    assert (entry.metric, entry.low_ratio, entry.high_ratio) == (Metric.TTFT, 0.2, 0.6)
    assert entry.ratio == pytest.approx(0.4)
    assert entry.percent == 10
    assert entry.held


def test_a_window_weighs_by_the_scarcer_arms_observations() -> None:
    many = replace(window(Metric.TTFT, 0.9, 1.0), baseline_count=1e6, canary_count=300.0)
    (entry,) = entries([rollout(record(10, window(Metric.TTFT, 0.5, 1.0), many))])
    assert entry.ratio == pytest.approx(0.8)
    assert not entry.held


def test_the_last_stage_with_unchanged_replicas_counts() -> None:
    stages = (
        record(10, window(Metric.TTFT, 0.3, 1.0)),
        record(50, window(Metric.TTFT, 0.4, 1.0)),
        record(100, window(Metric.TTFT, 0.5, None)),
    )
    (entry,) = entries([rollout(*stages)])
    assert entry.percent == 50
    assert entry.ratio == pytest.approx(0.4)


def test_what_was_never_measured_is_no_entry() -> None:
    unplanned = replace(rollout(), plan=None)
    unmeasured = rollout(record(10, window(Metric.ITL, 1.0, 1.0)), number=2)
    nothing = rollout(record(10, window(Metric.TTFT, 0.0, 1.0)), number=3)
    assert entries([unplanned, rollout(), unmeasured, nothing]) == []


def test_every_metric_of_a_change_has_its_own_entry_oldest_first() -> None:
    both = record(10, window(Metric.TTFT, 0.3, 1.0), window(Metric.GENERATION_TOKENS, 120.0, 100.0))
    found = entries([rollout(both, effects=(SOONER, MORE), number=number) for number in (2, 1)])
    assert [(entry.rollout, entry.metric) for entry in found] == [
        ("r1", Metric.TTFT),
        ("r1", Metric.GENERATION_TOKENS),
        ("r2", Metric.TTFT),
        ("r2", Metric.GENERATION_TOKENS),
    ]


def outcome(halves: float, basis: str = FORECAST) -> Entry:
    """An outcome so many half widths above the middle of an interval from 1/e to e."""
    return Entry("r", 0.0, "chat", "vllm", None, PLAN.change, Metric.TTFT, basis, exp(-1), exp(1), exp(halves), 10)


def test_few_outcomes_say_nothing_of_the_intervals() -> None:
    assert widening([outcome(5.0)] * (FEWEST - 1)) == 1.0
    assert widening([outcome(5.0)] * FEWEST) == pytest.approx(5.0)


def test_intervals_that_hold_are_never_made_narrower() -> None:
    assert widening([outcome(0.1)] * 50) == 1.0


def test_rules_of_thumb_say_nothing_of_the_twin() -> None:
    assert widening([outcome(5.0, "rule of thumb")] * 50) == 1.0


@given(st.lists(st.floats(-4, 4), min_size=FEWEST, max_size=60))
def test_as_wide_as_that_nine_of_ten_outcomes_would_have_been_held(halves: list[float]) -> None:
    power = widening([outcome(each) for each in halves])
    low, high = wider(1.0, (exp(-1), exp(1)), power)
    held = sum(low * (1 - 1e-9) <= exp(each) <= high * (1 + 1e-9) for each in halves)
    assert held >= 0.9 * len(halves)


def promotion(number: int, seats: int, cause: Cause | None = Cause.BATCH_LIMIT, **other: Any) -> Rollout:
    plan = replace(PLAN, change=((Knob.MAX_NUM_SEQS, seats),), cause=cause, engine=other.get("engine", "vllm"))
    return replace(rollout(number=number), plan=plan, phase=other.get("phase", Phase.COMPLETED))


def test_what_went_to_all_replicas_is_told_with_its_cause_the_latest_first_and_once() -> None:
    seen = [
        promotion(1, 64),
        promotion(2, 32),
        promotion(3, 64),
        promotion(4, 64, Cause.KV_CAPACITY),
        promotion(5, 8, phase=Phase.ROLLED_BACK),
        promotion(6, 8, phase=Phase.MONITORING),
        promotion(7, 8, engine="sglang"),
        promotion(8, 8, None),
    ]
    sixty_four, thirty_two = ((Knob.MAX_NUM_SEQS, 64),), ((Knob.MAX_NUM_SEQS, 32),)
    assert promoted(seen, "vllm") == (
        (Cause.KV_CAPACITY, sixty_four),
        (Cause.BATCH_LIMIT, sixty_four),
        (Cause.BATCH_LIMIT, thirty_two),
    )
    assert promoted(seen, "tgi") == ()
    many = promoted([promotion(number, number) for number in range(1, 100)], "vllm")
    assert [change[0][1] for _, change in many] == list(range(99, 99 - MOST_PROMOTED, -1))


async def test_the_ledger_is_told_line_by_line(at: Site) -> None:
    answer = await at.get("/ledger")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text == ""
    at.agent.manager._rollouts["r1"] = rollout(record(10, window(Metric.TTFT, 0.3, 1.0)))
    (line,) = (await at.get("/ledger")).text.splitlines()
    told = json.loads(line)
    assert (told["workflow_id"], told["metric"], told["held"]) == ("r1", "ttft_s", True)
    assert told["changes"] == {"max_num_seqs": 64}
