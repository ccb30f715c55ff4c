import pytest

from perfagent.bench.quiet import KINDS, SCRAPE_S, count, watch_stretch
from perfagent.bench.scenario import ENGINES, Kind
from perfagent.loop import WINDOW_S


def test_an_hour_with_hardly_anything_to_do_is_watched_window_by_window() -> None:
    stretch = watch_stretch(1, KINDS.index(Kind.LIGHT))
    assert stretch is not None
    assert (stretch.question.kind, stretch.question.label) == ("light", "none")
    assert "none" in stretch.question.accept
    begun = [each.start_s for each in stretch.diagnoses]
    assert begun == [turn * WINDOW_S for turn in range(12)]
    assert all(each.end_s - each.start_s == WINDOW_S for each in stretch.diagnoses)
    quiet = count([stretch])
    assert (quiet.fault_free_hours, quiet.false_alarms) == (1.0, 0)


def test_a_page_without_any_metric_is_a_missed_scrape() -> None:
    """TGI tells nothing before its first request, and a cold start is watched from its first moment on."""
    tgi_row = ENGINES.index("tgi")
    stretch = watch_stretch(0, tgi_row * len(KINDS) + KINDS.index(Kind.COLD))
    assert stretch is not None
    assert (stretch.question.engine, stretch.question.kind) == ("tgi", "cold_start")
    assert [each.end_s for each in stretch.diagnoses] == [(turn + 1) * WINDOW_S for turn in range(12)]
    assert stretch.diagnoses[0].start_s == SCRAPE_S
    assert stretch.hours == pytest.approx(1 - SCRAPE_S / 3600)
