"""When to scrape which replica: pure functions of what happened so far, with time as an argument.

Every replica has its own place in the interval, derived from its id: the same after a restart and on every agent, so
that a fleet is never scraped all at once and the spacing of a replica's scrapes stays even. A replica that fails is
tried less and less often, still in its own place.
"""

from dataclasses import dataclass, replace
from hashlib import blake2b
from math import floor


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often to scrape."""

    interval_s: float = 5.0
    longest_s: float = 60.0
    """Between two tries of a replica that keeps failing; not below the interval."""
    stale_after: float = 3.0
    """Intervals without a scrape after which a replica's figures are out of date."""


@dataclass(frozen=True, slots=True)
class Tries:
    """How the scrapes of one replica went so far."""

    last_s: float | None = None
    """When it was last tried, successfully or not."""
    last_good_s: float | None = None
    failures: int = 0
    """Since the last success."""

    def succeeded(self, at_s: float) -> "Tries":
        """With one more success."""
        return Tries(at_s, at_s)

    def failed(self, at_s: float) -> "Tries":
        """With one more failure."""
        return replace(self, last_s=at_s, failures=self.failures + 1)


def offset_s(replica: str, interval_s: float) -> float:
    """The replica's place in the interval, evenly spread over replicas: 0 ≤ offset < interval."""
    digest = blake2b(replica.encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48 * interval_s


def due_s(cadence: Cadence, replica: str, tries: Tries, now_s: float) -> float:
    """When to scrape next: at the replica's place nearest to a pause after its last try.

    The pause is one interval; after n failures in a row it is 2ⁿ⁻¹ intervals, at most `longest_s`. What was due while
    nobody asked is due once, not many times over. A replica that was never tried waits for its first place from
    `now_s` on.
    """
    if tries.last_s is None:
        return _place(cadence, replica, now_s)
    doublings = min(max(tries.failures - 1, 0), 30)
    pause = min(cadence.interval_s * 2.0**doublings, max(cadence.longest_s, cadence.interval_s))
    return _place(cadence, replica, tries.last_s + pause - cadence.interval_s / 2)


def stale(cadence: Cadence, tries: Tries, now_s: float) -> bool:
    """Whether the replica's figures are out of date: it was not read for `stale_after` intervals, or never."""
    return tries.last_good_s is None or now_s - tries.last_good_s > cadence.stale_after * cadence.interval_s


def _place(cadence: Cadence, replica: str, after_s: float) -> float:
    """The replica's first place later than `after_s`."""
    offset = offset_s(replica, cadence.interval_s)
    turn = floor((after_s - offset) / cadence.interval_s) + 1
    place = offset + turn * cadence.interval_s
    return place if place > after_s else place + cadence.interval_s
