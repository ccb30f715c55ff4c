"""Emulated servers watched for a while: what a forecast sees of them, and what they really do."""

from collections.abc import Callable
from functools import cache

from perfagent import engines
from perfagent.domain.knob import EffectiveConfig
from perfagent.domain.machine import Machine
from perfagent.domain.window import Window
from perfagent.emulator import Fleet
from perfagent.forecast import Case, case
from perfagent.twin import Lengths, Workload
from support import fleets

EMULATED = fleets.machine(on="l40s")
L40S = Machine("l40s", 1, EMULATED.model.shape)
"""What the emulated servers run on. A step takes some 25 ms, so a minute of them is quickly played."""
EVERY_S, LOOKS = 3.0, 16


def watch(of: Fleet, between: Callable[[int], None] = lambda _: None) -> Window:
    """Three quarters of a minute of the first replica, a scrape every three seconds."""
    snapshots = []
    for turn in range(LOOKS):
        of.advance(fleets.START_S + EVERY_S * turn)
        snapshots.append(fleets.snapshot(of))
        between(turn)
    return Window(tuple(snapshots))


def chats(rate_per_s: float, seed: int = 1) -> Workload:
    """Short prompts and answers that keep coming."""
    return Workload(((0.0, rate_per_s),), Lengths(300, 0.5, longest=2000), Lengths(60, 0.5, longest=400), seed=seed)


@cache
def window(*flags: str, rate_per_s: float, slowness: float = 1.0, seed: int = 1) -> Window:
    """A server with these flags under chats, whose steps take `slowness` times what its data sheet lets expect."""
    of = fleets.fleet(*flags, of=EMULATED, workload=chats(rate_per_s, seed))
    of.replicas[0].slow_down(slowness)
    return watch(of)


def config(*flags: str) -> EffectiveConfig:
    """How that server is set."""
    return engines.effective(EMULATED.engine, fleets.launch(EMULATED, *flags), {}, {}, EMULATED.release)


@cache
def known(*flags: str, rate_per_s: float, slowness: float = 1.0, seed: int = 1, on: Machine = L40S) -> Case:
    """What a forecast knows of that server."""
    seen = window(*flags, rate_per_s=rate_per_s, slowness=slowness, seed=seed)
    return case(seen, config(*flags), fleets.launch(EMULATED, *flags), on)
