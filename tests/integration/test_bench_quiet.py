"""The benchmark's live agent on a server with a fault: what counts false alarms must be able to hear a true one."""

from dataclasses import replace

from perfagent.bench.play import play
from perfagent.bench.quiet import SCRAPE_S, Live, watch
from perfagent.bench.scenario import Kind, Undrawable, draw
from perfagent.bench.scenarios import ATTEMPTS
from perfagent.bench.truth import accepted
from perfagent.domain.finding import Cause


def watched(kind: Kind) -> Live:
    """Ten minutes of a server on which this is wrong."""
    for attempt in range(ATTEMPTS):
        try:
            scenario = replace(draw(5, tuple(Kind).index(kind), attempt), span_s=600.0, every_s=SCRAPE_S)
        except Undrawable:
            continue
        played = play(scenario, pages=True)
        if accepted(scenario, played):
            return watch(scenario, played)
    raise AssertionError(f"no draw came out as {kind}")


def test_a_limit_that_stays_is_named_by_every_window_and_fires_once() -> None:
    live = watched(Kind.BATCH_LIMIT)
    assert [[finding.cause for finding in each.findings] for each in live.diagnoses] == [[Cause.BATCH_LIMIT]] * 2
    assert [incident.cause for incident in live.fired.values()] == [Cause.BATCH_LIMIT]
