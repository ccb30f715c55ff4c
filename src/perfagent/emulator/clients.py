"""What clients of an emulated replica saw, second by second: the truth that `/metrics` is held against.

Every event is booked in the second in which it happened, so a window's figures and the metrics of the same window are
about the same events. Old seconds are forgotten.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import mul

KEPT_S = 6 * 3600
"""Seconds kept; a demo lasts one hour of emulated time."""


@dataclass(slots=True)
class _Second:
    """Sums over one second."""

    tokens: int = 0
    gap_s: float = 0.0
    gaps: int = 0
    gap_s2: float = 0.0
    ttft_s: float = 0.0
    firsts: int = 0
    e2e_s: float = 0.0
    finished: int = 0
    refused: int = 0
    gave_up: int = 0
    lost: int = 0


_SUMS = tuple(field.name for field in fields(_Second))


@dataclass(frozen=True, slots=True)
class Seen:
    """What clients saw in a window. Means are exact, and None where nothing was seen."""

    seconds: float
    finished: int
    ttft_mean_s: float | None
    itl_mean_s: float | None
    """Over all gaps between two tokens of an answer."""
    stall_s: float | None
    """The gap that a moment of waiting for a token falls into, on average: far above the mean where few are long."""
    e2e_mean_s: float | None
    tokens_per_s: float
    refused: int
    """Turned away: too many requests, too long, or nobody there to ask."""
    gave_up: int
    """Clients that lost patience before the first token."""
    lost: int
    """Cut off by a crash or a restart."""


class ClientLog:
    """Books events of one replica's clients; time never runs backwards."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, _Second]] = deque(maxlen=KEPT_S)
        self._open = _Second()
        self._open_until_s = -1.0

    def tokens(self, at_s: float, gap_s: float, count: int) -> None:
        """`count` answers got a token, `gap_s` after their previous one."""
        now = self._open if at_s < self._open_until_s else self._turn(at_s)
        now.tokens += count
        now.gaps += count
        now.gap_s += gap_s * count
        now.gap_s2 += gap_s * gap_s * count

    def decoded(self, ends_s: Sequence[float], gaps_s: Sequence[float], count: int) -> None:
        """At each of these times `count` answers got a token, so long after their previous one."""
        now = self._at(ends_s[0])
        if ends_s[-1] >= self._open_until_s:
            for at_s, gap_s in zip(ends_s, gaps_s, strict=True):
                self.tokens(at_s, gap_s, count)
            return
        now.tokens += count * len(gaps_s)
        now.gaps += count * len(gaps_s)
        now.gap_s += count * sum(gaps_s)
        now.gap_s2 += count * sum(map(mul, gaps_s, gaps_s))

    def first_token(self, at_s: float, ttft_s: float) -> None:
        """An answer began."""
        now = self._at(at_s)
        now.tokens += 1
        now.firsts += 1
        now.ttft_s += ttft_s

    def finished(self, at_s: float, e2e_s: float) -> None:
        """An answer is complete."""
        now = self._at(at_s)
        now.finished += 1
        now.e2e_s += e2e_s

    def refused(self, at_s: float) -> None:
        """A request was turned away."""
        self._at(at_s).refused += 1

    def gave_up(self, at_s: float) -> None:
        """A client lost patience."""
        self._at(at_s).gave_up += 1

    def lost(self, at_s: float, count: int) -> None:
        """Answers were cut off."""
        self._at(at_s).lost += count

    def between(self, start_s: float, end_s: float) -> Iterable[_Second]:
        """The whole seconds in [start_s, end_s)."""
        return [sums for second, sums in self._seconds if start_s <= second < end_s]

    def _at(self, at_s: float) -> _Second:
        return self._open if at_s < self._open_until_s else self._turn(at_s)

    def _turn(self, at_s: float) -> _Second:
        second = int(at_s)
        self._open, self._open_until_s = _Second(), second + 1.0
        self._seconds.append((second, self._open))
        return self._open


def seen(logs: Iterable[ClientLog], start_s: float, end_s: float) -> Seen:
    """What the clients of all these replicas saw in the whole seconds of [start_s, end_s)."""
    total = dict.fromkeys(_SUMS, 0.0)
    for log in logs:
        for second in log.between(start_s, end_s):
            for name in _SUMS:
                total[name] += getattr(second, name)
    seconds = max(end_s - start_s, 1e-9)
    return Seen(
        seconds=seconds,
        finished=int(total["finished"]),
        ttft_mean_s=_mean(total["ttft_s"], total["firsts"]),
        itl_mean_s=_mean(total["gap_s"], total["gaps"]),
        stall_s=_mean(total["gap_s2"], total["gap_s"]),
        e2e_mean_s=_mean(total["e2e_s"], total["finished"]),
        tokens_per_s=total["tokens"] / seconds,
        refused=int(total["refused"]),
        gave_up=int(total["gave_up"]),
        lost=int(total["lost"]),
    )


def _mean(total: float, count: float) -> float | None:
    return total / count if count else None
