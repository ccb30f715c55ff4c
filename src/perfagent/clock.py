"""The only place that touches time.

`SystemClock` is the machine's, `SharedClock` the one that agents on several machines have in common, and `VirtualClock`
lets the demo and the tests run hours in seconds.
"""

import asyncio
import time
from collections.abc import Callable

from perfagent.ports import Clock


class SystemClock:
    """Real time."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let real time pass."""
        await asyncio.sleep(max(0.0, seconds))


class SharedClock:
    """Another clock, with the time of day of one that others go by too: it is `ahead_s()` seconds ahead."""

    def __init__(self, clock: Clock, ahead_s: Callable[[], float]) -> None:
        self._clock = clock
        self._ahead_s = ahead_s

    def now(self) -> float:
        """Unix seconds on the common clock."""
        return self._clock.now() + self._ahead_s()

    def monotonic(self) -> float:
        """Seconds that never jump, as this process counts them."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await self._clock.sleep(seconds)


class VirtualClock:
    """Time that passes only when somebody sleeps: a sleep jumps to its end at once.

    One task drives it (the agent's loop); whatever else runs in the process sees time stand still in between. With
    `pace_s` each sleep also takes that much real time, so that people and HTTP servers in the process can keep up.
    """

    def __init__(self, start_s: float = 1_800_000_000.0, *, pace_s: float = 0.0) -> None:
        self._now = start_s
        self._pace_s = pace_s

    def now(self) -> float:
        """Unix seconds of the virtual time."""
        return self._now

    def monotonic(self) -> float:
        """The same virtual time: it never jumps back."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Move on by `seconds`."""
        self._now += max(0.0, seconds)
        await asyncio.sleep(self._pace_s)
