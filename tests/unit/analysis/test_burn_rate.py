import tomllib
from importlib.resources import files
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import pdtrc

from perfagent.analysis.burn_rate import BURN_RULES, LEAST_BAD_REQUESTS, PERIOD_S, SOURCE, error_budget
from perfagent.domain.slo import Alert, AlertSeverity, Comparison, Objective, SloMetric, Statistic, window_name
from perfagent.domain.window import Window
from support.windows import START_S, window

FAST = BURN_RULES[0]
"""14.4 times over an hour and five minutes; the windows below are an hour, a scrape every five minutes."""
ERRORS = Objective(SloMetric.ERROR_RATE, 0.01)
TTFT = Objective(SloMetric.TTFT, 0.5, share=0.95)
END_S = START_S + 3600.0


def hour(finished: str, failed: str, *, target: str = "r1") -> Window:
    return window(every_s=300.0, finished=finished, failed=failed, target=target)


def alert(objective: Objective, *windows: Window, now_s: float = END_S) -> Alert:
    (only,) = error_budget(objective, {FAST: windows}, now_s).alerts
    return only


def test_the_rules_are_those_of_their_source() -> None:
    told = [(rule.severity, window_name(rule.long_s), window_name(rule.short_s), rule.factor) for rule in BURN_RULES]
    assert told == [("page", "1h", "5m", 14.4), ("page", "6h", "30m", 6), ("ticket", "1d", "2h", 3),
                    ("ticket", "3d", "6h", 1)]  # fmt: skip
    assert "Site Reliability Workbook" in SOURCE


def test_a_factor_spends_its_share_of_the_periods_budget_within_the_long_window() -> None:
    data = tomllib.loads(files("perfagent.analysis").joinpath("burn_rates.toml").read_text("utf-8"))
    for rule, written in zip(BURN_RULES, data["rules"], strict=True):
        assert rule.factor == pytest.approx(written["budget_spent"] * PERIOD_S / rule.long_s)
        assert rule.short_s == rule.long_s / 12


def test_a_budget_that_burns_over_both_windows_fires() -> None:
    told = alert(ERRORS, hour("0..800x13", "0..200x13"))
    assert told.firing
    assert told.rule.severity is AlertSeverity.PAGE
    assert told.long.rate == pytest.approx(20)
    assert told.short.rate == pytest.approx(20)
    assert (told.long.events, told.long.bad, told.long.covers_s, told.short.covers_s) == (1000, 200, 3600, 300)
    assert told.reason == "burns 20 times as fast as it may over 1h and 20 times as fast as it may over 5m"


def test_a_burn_rate_of_just_the_factor_fires_and_a_little_less_does_not() -> None:
    assert alert(ERRORS, hour("0..10272x13", "0..1728x13")).firing
    assert not alert(ERRORS, hour("0..10284x13", "0..1716x13")).firing


def test_the_short_window_ends_the_alert_soon_after_its_cause() -> None:
    burning = hour("0..660x12 760", "0..440x12 440")
    over = alert(ERRORS, burning)
    assert over.long.rate is not None
    assert over.long.rate > FAST.factor
    assert not over.firing
    assert over.reason == "burns 0 times as fast as it may over 5m; 14.4 times are too fast"


def test_the_long_window_forgives_a_short_spike() -> None:
    told = alert(ERRORS, hour("0..1100x12 1150", "0x12 50"))
    assert told.short.rate == pytest.approx(50)
    assert told.long.rate == pytest.approx(100 * 50 / 1200)
    assert not told.firing


def test_an_idle_service_has_no_burn_rate() -> None:
    told = alert(ERRORS, hour("500x13", "500x13"))
    assert (told.long.rate, told.short.rate, told.long.events, told.firing) == (None, None, 0, False)
    assert told.reason == "nothing was measured over 1h"


def test_a_service_that_fell_idle_alerts_no_longer() -> None:
    told = alert(ERRORS, hour("0..110x12 110", "0..110x12 110"))
    assert told.long.rate == pytest.approx(50)
    assert (told.firing, told.reason) == (False, "nothing was measured over 5m")


def test_a_service_that_was_never_scraped_has_no_burn_rate() -> None:
    told = alert(ERRORS)
    assert (told.long.rate, told.long.covers_s, told.firing) == (None, 0, False)
    lately = alert(ERRORS, hour("0..800x13", "0..200x13"), now_s=END_S + 900.0)
    assert (lately.short.rate, lately.firing) == (None, False)


def test_events_are_counted_across_a_restart() -> None:
    told = alert(ERRORS, hour("400..800x6 0..480x7", "100..200x6 0..120x7"))
    assert (told.long.events, told.long.bad) == (500 + 600, 100 + 120)
    assert told.firing


def test_events_of_all_replicas_count_together() -> None:
    good, bad = hour("0..2000x13", "0x13"), hour("0..10x13", "0..200x13", target="r2")
    told = alert(ERRORS, good, bad)
    assert (told.long.events, told.long.bad) == (2210, 200)
    assert not told.firing
    assert alert(ERRORS, bad).firing


def test_a_past_that_is_shorter_than_the_window_is_used_and_told() -> None:
    ten_minutes = window(every_s=300.0, finished="0 400 800", failed="0 100 200")
    told = alert(ERRORS, ten_minutes, now_s=START_S + 600.0)
    assert told.firing
    assert told.long.window_s == 3600
    assert told.long.covers_s == 600


def test_the_recorded_past_is_that_of_the_replica_scraped_longest() -> None:
    new = Window(hour("0..800x13", "0..200x13", target="r2").snapshots[-3:])
    told = alert(ERRORS, hour("0..800x13", "0..200x13"), new)
    assert told.long.covers_s == 3600


def test_a_share_is_counted_exactly_at_the_bucket_edge_nearest_to_its_target() -> None:
    objective = Objective(SloMetric.TTFT, 0.6, share=0.95)
    seen = window(every_s=300.0, ttft=[[0.4, 0.5, 0.9, 3.0]] * 12)
    budget = error_budget(objective, {FAST: [seen]}, END_S)
    assert budget.reason == "counted at 0.5 s, the bucket edge nearest to 0.6 s"
    assert budget.budget == 0.05
    (only,) = budget.alerts
    assert (only.long.events, only.long.bad, only.long.edge_s) == (48, 24, 0.5)
    assert only.long.rate == pytest.approx(10)
    assert error_budget(TTFT, {FAST: [seen]}, END_S).reason == ""


def test_without_bucket_edges_nothing_can_be_counted() -> None:
    told = alert(TTFT, window(every_s=300.0, ttft=[[9.0] * 9] * 12, edges={"ttft": [inf]}))
    assert (told.long.events, told.long.rate, told.firing) == (0, None, False)


def test_one_bad_request_never_alerts_however_few_there_are() -> None:
    for before in (0, 2, 30):
        told = alert(Objective(SloMetric.ERROR_RATE, 0.001), hour(f"0 {before}x12", "0x12 1"))
        assert told.short.rate == pytest.approx(1000)
        assert not told.firing
    assert alert(ERRORS, hour("0x13", "0x12 1")).reason == (
        "burns 100 times as fast as it may over 1h, but that is fewer than 5 bad requests"
    )


def test_an_outage_alerts_at_little_traffic_too() -> None:
    assert alert(ERRORS, hour("0x13", f"0x3 1x3 3x3 {LEAST_BAD_REQUESTS - 1}x3 {LEAST_BAD_REQUESTS}")).firing


def test_many_slow_gaps_of_few_requests_are_no_alert() -> None:
    objective = Objective(SloMetric.ITL, 0.05, share=0.99)
    slow = [[0.2] * 50] * 12
    lone = alert(objective, window(every_s=300.0, itl=slow, ttft=[[0.1]] + [[]] * 11))
    busy = alert(objective, window(every_s=300.0, itl=slow, ttft=[[0.1]] * 12))
    assert (lone.long.bad, lone.long.requests, lone.firing) == (600, 1, False)
    assert (busy.long.requests, busy.firing) == (12, True)
    assert alert(objective, window(every_s=300.0, itl=slow)).firing


@pytest.mark.parametrize(("least", "fewer_than"), [(LEAST_BAD_REQUESTS, 0.25), (LEAST_BAD_REQUESTS - 2, None)])
def test_so_few_bad_requests_seldom_page_by_chance(least: int, fewer_than: float | None) -> None:
    """A service that just keeps its objective, at the traffic at which chance looks worst."""
    by_chance = 0.0
    for rule in (rule for rule in BURN_RULES if rule.severity is AlertSeverity.PAGE):
        bad_per_window = least / rule.factor  # with more, more bad ones are needed; with fewer, so many are rarer
        by_chance += PERIOD_S / rule.long_s * float(pdtrc(least - 1, bad_per_window))
    assert by_chance < fewer_than if fewer_than is not None else by_chance > 2


def test_a_rule_that_can_never_fire_says_so() -> None:
    objective = Objective(SloMetric.TTFT, 0.5, share=0.9)
    bad = window(every_s=300.0, ttft=[[2.0] * 10] * 12)
    told = error_budget(objective, {rule: [bad] for rule in BURN_RULES}, END_S).alerts
    assert [one.firing for one in told] == [False, True, True, True]
    assert told[0].reason == "cannot fire: with every event bad the budget burns 10 times as fast as it may"


@pytest.mark.parametrize(
    ("objective", "why"),
    [
        (Objective(SloMetric.TTFT, 0.5), "only an error rate and a share"),
        (Objective(SloMetric.TTFT, 0.5, statistic=Statistic.P95), "only an error rate and a share"),
        (Objective(SloMetric.THROUGHPUT, 100, Comparison.GREATER_THAN), "only an error rate and a share"),
        (Objective(SloMetric.ERROR_RATE, 0.1, Comparison.GREATER_THAN), "kept below its target"),
        (Objective(SloMetric.ERROR_RATE, 0.0), "a target of 0 lets none fail"),
        (Objective(SloMetric.ERROR_RATE, 1.0), "a target of 1 lets all fail"),
    ],
)
def test_what_has_no_error_budget_says_so_and_has_no_alerts(objective: Objective, why: str) -> None:
    told = error_budget(objective, {FAST: [hour("0..800x13", "0..200x13")]}, END_S)
    assert (told.budget, told.alerts) == (None, ())
    assert told.reason.startswith("no error budget: ")
    assert why in told.reason


def test_a_replica_that_tells_no_successes_is_left_out() -> None:
    silent = window(every_s=300.0, running="1x13", failed="0..50x13", target="r2")
    told = alert(ERRORS, hour("0..800x13", "0..200x13"), silent)
    assert (told.long.events, told.long.bad) == (1000, 200)


@given(st.lists(st.lists(st.sampled_from([0.1, 2.0]), max_size=6), min_size=12, max_size=12), st.integers(1, 4))
def test_it_does_not_matter_which_replica_served_an_event(events: list[list[float]], replicas: int) -> None:
    together = window(every_s=300.0, ttft=events)
    apart = [
        window(every_s=300.0, ttft=[each[number::replicas] for each in events], target=f"r{number}")
        for number in range(replicas)
    ]
    assert alert(TTFT, together) == alert(TTFT, *apart)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=12, max_size=12))
def test_what_fires_burns_too_fast_over_both_windows(steps: list[tuple[int, int]]) -> None:
    good, bad = ([sum(step[kind] for step in steps[:n]) for n in range(13)] for kind in (0, 1))
    told = alert(ERRORS, hour(" ".join(map(str, good)), " ".join(map(str, bad))))
    rates = (told.long.rate, told.short.rate)
    assert told.firing == (
        all(rate is not None and rate >= FAST.factor for rate in rates) and told.long.bad >= LEAST_BAD_REQUESTS
    )


def test_objectives_have_names_of_their_own() -> None:
    names = [
        Objective(SloMetric.TTFT, 0.5, share=0.95).name,
        Objective(SloMetric.TTFT, 0.5, share=0.99).name,
        Objective(SloMetric.TTFT, 0.5).name,
        Objective(SloMetric.ITL, 0.1, statistic=Statistic.P95).name,
        Objective(SloMetric.THROUGHPUT, 100.0, Comparison.GREATER_THAN).name,
    ]
    assert names == ["ttft<=0.5@0.95", "ttft<=0.5@0.99", "ttft<=0.5", "itl.p95<=0.1", "throughput>=100.0"]


def test_windows_are_named_as_prometheus_does() -> None:
    assert [window_name(s) for s in (90, 300, 5400, 7200, 86400)] == ["90s", "5m", "90m", "2h", "1d"]
    assert all(a.factor > b.factor for a, b in pairwise(BURN_RULES))
