"""When nothing may be changed: windows that come back on days of the week, and periods once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from perfagent.domain.errors import InvalidInput

DAY_MIN = 24 * 60


class Day(StrEnum):
    """A day of the week; the order is the calendar's."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


@dataclass(frozen=True, slots=True)
class Weekly:
    """A window that begins on each of these days, and ends on the next where it does not end later on the same day."""

    days: tuple[Day, ...] = tuple(Day)
    start_min: int = 0
    """Minutes after midnight, by the clocks on the wall there."""
    end_min: int = 0
    timezone: str = "UTC"
    """An IANA name, such as `Europe/Berlin`."""
    why: str = ""

    def __post_init__(self) -> None:
        if not self.days:
            raise InvalidInput("a weekly freeze names at least one day")
        if not (0 <= self.start_min < DAY_MIN and 0 <= self.end_min < DAY_MIN):
            raise InvalidInput("a weekly freeze begins and ends at times of day")
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise InvalidInput(f"unknown time zone {self.timezone!r}; write one such as Europe/Berlin") from error

    def until(self, now_s: float) -> datetime | None:
        """When the window ends that is open now, or None where none is."""
        zone = ZoneInfo(self.timezone)
        today = datetime.fromtimestamp(now_s, zone).date()
        for day in (today - timedelta(days=1), today):
            last = day if self.end_min > self.start_min else day + timedelta(days=1)
            start, end = _at(day, self.start_min, zone), _at(last, self.end_min, zone)
            if tuple(Day)[day.weekday()] in self.days and start.timestamp() <= now_s < end.timestamp():
                return end
        return None


@dataclass(frozen=True, slots=True)
class Period:
    """A window that comes once."""

    from_s: float
    """Unix seconds, like its end."""
    until_s: float
    why: str = ""

    def __post_init__(self) -> None:
        if not self.from_s < self.until_s:
            raise InvalidInput("a freeze ends after it begins")

    def until(self, now_s: float) -> datetime | None:
        """When it ends where it is open now, else None."""
        return datetime.fromtimestamp(self.until_s, UTC) if self.from_s <= now_s < self.until_s else None


Freeze = Weekly | Period


def frozen(freezes: Sequence[Freeze], now_s: float) -> str | None:
    """Until when nothing may be changed, and why; None where nothing forbids it now."""
    ends = [(end, freeze.why) for freeze in freezes if (end := freeze.until(now_s)) is not None]
    if not ends:
        return None
    end, why = max(ends)
    return f"at least until {end:%Y-%m-%d %H:%M} {end.tzname()}" + (f" ({why})" if why else "")


def _at(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(*divmod(minutes, 60)), zone)
