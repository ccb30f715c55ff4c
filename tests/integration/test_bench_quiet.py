import pytest

from perfagent.bench.quiet import KINDS, SCRAPE_S, count, watch_stretch
from perfagent.bench.scenario import Kind
from perfagent.loop import WINDOW_S


def test_an_hour_with_hardly_anything_to_do_is_watched_window_by_window() -> None:
    stretch = watch_stretch(1, KINDS.index(Kind.LIGHT))
    assert stretch is not None
    assert (stretch.question.kind, stretch.question.label) == ("light", "none")
    assert "none" in stretch.question.accept
    begun = [each.start_s for each in stretch.diagnoses]
    assert begun == [turn * WINDOW_S for turn in range(12)]
    assert all(each.end_s - each.start_s == pytest.approx(WINDOW_S, abs=SCRAPE_S) for each in stretch.diagnoses)
    quiet = count([stretch])
    assert (quiet.fault_free_hours, quiet.false_alarms) == (1.0, 0)
