from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.freeze import Day, Period, Weekly, frozen

NIGHTS = Weekly((Day.FRI, Day.SAT), 18 * 60, 6 * 60, "Europe/Berlin", "weekend")
SUNDAYS = Weekly((Day.SUN,), timezone="Europe/Berlin")
LUNCH = Weekly(start_min=12 * 60, end_min=13 * 60)


def berlin(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


@pytest.mark.parametrize(
    ("freeze", "at", "until"),
    [
        (NIGHTS, "2026-11-20 17:59:59", None),
        (NIGHTS, "2026-11-20 18:00:00", "2026-11-21 06:00:00"),
        (NIGHTS, "2026-11-21 05:59:59", "2026-11-21 06:00:00"),
        (NIGHTS, "2026-11-21 06:00:00", None),
        (NIGHTS, "2026-11-22 03:00:00", "2026-11-22 06:00:00"),
        (NIGHTS, "2026-11-22 19:00:00", None),
        (SUNDAYS, "2026-11-21 23:59:59", None),
        (SUNDAYS, "2026-11-22 00:00:00", "2026-11-23 00:00:00"),
        (SUNDAYS, "2026-11-23 00:00:00", None),
        # the clocks go forward on 29 March 2026 and back on 25 October: a Sunday is 23 or 25 hours long
        (SUNDAYS, "2026-03-29 23:59:59", "2026-03-30 00:00:00"),
        (SUNDAYS, "2026-10-25 23:59:59", "2026-10-26 00:00:00"),
    ],
)
def test_a_weekly_freeze_goes_by_the_clocks_on_the_wall(freeze: Weekly, at: str, until: str | None) -> None:
    end = freeze.until(berlin(at))
    assert (None if end is None else end.timestamp()) == (None if until is None else berlin(until))


def test_a_period_comes_once() -> None:
    period = Period(100.0, 200.0)
    assert [period.until(at_s) is not None for at_s in (99.9, 100.0, 199.9, 200.0)] == [False, True, True, False]


def test_it_is_told_until_when_and_why() -> None:
    saturday = berlin("2026-11-21 19:00")
    assert frozen((), saturday) is None
    assert frozen((LUNCH,), saturday) is None
    assert frozen((LUNCH, NIGHTS), saturday) == "at least until 2026-11-22 06:00 CET (weekend)"
    assert frozen((NIGHTS, Period(0.0, saturday + 86_400)), saturday) == "at least until 2026-11-22 18:00 UTC"


@pytest.mark.parametrize(
    "odd",
    [
        lambda: Weekly(()),
        lambda: Weekly(start_min=1440),
        lambda: Weekly(end_min=-1),
        lambda: Weekly(timezone="Europe/Atlantis"),
        lambda: Weekly(timezone="Europe"),
        lambda: Weekly(timezone="../etc/passwd"),
        lambda: Period(2.0, 2.0),
        lambda: Period(float("nan"), 2.0),
    ],
)
def test_a_freeze_that_cannot_be_meant_is_refused(odd: type) -> None:
    with pytest.raises(InvalidInput):
        odd()
