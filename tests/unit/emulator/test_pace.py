import asyncio

from perfagent.clock import VirtualClock
from perfagent.emulator.pace import Pace
from support.fleets import START_S, fleet


class Hurrying:
    """A clock that never stands still: every look at it takes a second."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def now(self) -> float:
        return self.monotonic()

    def monotonic(self) -> float:
        self._now_s += 1.0
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        self._now_s += seconds


async def test_a_clock_second_is_as_many_emulated_ones_as_the_speed_says() -> None:
    clock, of = VirtualClock(5.0), fleet()
    pace = Pace(of, clock, speed=20)
    await clock.sleep(3)
    pace.catch_up()
    assert of.now_s == START_S + 60


async def test_a_fleet_that_cannot_keep_up_falls_behind_instead_of_catching_up_ever_longer() -> None:
    of = fleet()
    pace = Pace(of, Hurrying(), speed=10)
    moved = []
    for _ in range(5):
        before_s = of.now_s
        pace.catch_up()
        moved.append(of.now_s - before_s)
    assert moved == [10.0] * 5


async def test_who_waits_is_woken_when_the_fleet_moves_and_looks_again_soon_anyway() -> None:
    clock, of = VirtualClock(), fleet()
    pace = Pace(of, clock)
    waiting = asyncio.create_task(pace.look_again())
    await asyncio.sleep(0)
    await clock.sleep(1)
    pace.catch_up()
    await asyncio.sleep(0)
    assert waiting.done()
    async with asyncio.timeout(1):
        await pace.look_again()
    assert of.now_s == START_S + 1
