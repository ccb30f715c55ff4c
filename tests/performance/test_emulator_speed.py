"""How fast emulated time passes, and what a page costs."""

from statistics import median
from time import perf_counter, process_time

from perfagent.emulator.fleet import Fleet
from perfagent.emulator.presets import fleet, preset

WARM_S, SPAN_S = 60.0, 60.0


def warm(name: str) -> Fleet:
    of = fleet(preset(name), replicas=10)
    of.advance(WARM_S)
    return of


def test_ten_replicas_run_far_faster_than_real_time() -> None:
    for name in ("batch-limit", "healthy", "kv-starved"):
        of = warm(name)
        start = process_time()
        of.advance(WARM_S + SPAN_S)
        spent = process_time() - start
        print(f"\n{name}: {spent:.2f} s CPU for a minute of ten replicas, {SPAN_S / spent:.0f}× real time")
        assert SPAN_S / spent > 40


def test_small_steps_cost_little_more_than_one_large_one() -> None:
    spent = []
    for pieces in (1, 6000):
        of = warm("batch-limit")
        start = process_time()
        for piece in range(1, pieces + 1):
            of.advance(WARM_S + SPAN_S * piece / pieces)
        spent.append(process_time() - start)
    print(f"\nin one go {spent[0]:.2f} s, in steps of 10 ms {spent[1]:.2f} s, ratio {spent[1] / spent[0]:.2f}")
    assert spent[1] < 3 * spent[0]


def test_a_page_takes_well_under_three_milliseconds() -> None:
    of, times = warm("healthy"), []
    for _ in range(200):
        start = perf_counter()
        of.scrape(0)
        times.append(perf_counter() - start)
    print(f"\na page of {len(of.scrape(0) or '')} bytes: median {median(times) * 1e3:.2f} ms")
    assert median(times) < 0.003
