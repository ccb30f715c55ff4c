"""The fleet's time as a clock passes: one clock second is `speed` emulated ones.

The emulated fleet does nothing by itself; whoever asks it anything lets it catch up first.
"""

import asyncio

from perfagent.emulator.fleet import Fleet
from perfagent.ports import Clock

LOOK_S = 0.01
"""How long a waiting request lets real time pass before it looks at the clock again."""
SLIP_S = 0.2
"""A catching up that takes longer than this does not count as time: the fleet falls behind its speed instead of being
ever further behind, and blocking everything ever longer."""


class Pace:
    """Drives a fleet by a clock, from now on."""

    def __init__(self, fleet: Fleet, clock: Clock, *, speed: float = 1.0) -> None:
        self.fleet = fleet
        self._clock = clock
        self._speed = speed
        self._clock_began_s = clock.monotonic()
        self._fleet_began_s = fleet.now_s
        self._moved = asyncio.Event()
        self.stopped = False
        """Nobody serves the fleet any more, so there is nothing to wait for."""

    def stop(self) -> None:
        """Sends home whoever waits for the fleet."""
        self.stopped = True
        self._moved.set()

    def catch_up(self) -> None:
        """Brings the fleet to the clock's now, or as near as the machine can."""
        before_s, start_s = self.fleet.now_s, self._clock.monotonic()
        self.fleet.advance(self._fleet_began_s + (start_s - self._clock_began_s) * self._speed)
        took_s = self._clock.monotonic() - start_s
        if took_s > SLIP_S:
            self._clock_began_s += took_s
        if self.fleet.now_s > before_s:
            self._moved.set()
            self._moved = asyncio.Event()

    async def look_again(self) -> None:
        """Returns when the fleet has moved, or soon.

        Not a sleep on the clock: a virtual one belongs to whoever drives it, and must not be moved from here.
        """
        try:
            async with asyncio.timeout(LOOK_S):
                await self._moved.wait()
        except TimeoutError:
            return
