"""`perfagent emulate`: emulated servers to try things on."""

import asyncio
import os
import signal
from typing import Annotated

import typer

from perfagent import engines
from perfagent.cli.output import Exit, err, fail, out
from perfagent.clock import SystemClock
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.emulator.fleet import Fleet
from perfagent.emulator.presets import PRESETS, fleet, preset
from perfagent.emulator.server import serve_fleet
from perfagent.emulator.setup import prepare


def emulate(
    engine: Annotated[str, typer.Option(help="Engine whose metrics and endpoints to show.")] = "vllm",
    release: Annotated[str | None, typer.Option(help="Its release; by default the newest known.")] = None,
    replicas: Annotated[int, typer.Option(min=1, max=100, help="How many servers.")] = 2,
    situation: Annotated[str, typer.Option("--preset", help=f"One of {', '.join(PRESETS)}.")] = "batch-limit",
    port: Annotated[int, typer.Option(help="First port; they count up from it. 0 takes free ones.")] = 8100,
    speed: Annotated[float, typer.Option(min=0.01, max=1000, help="Emulated seconds per second.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same load.")] = 0,
    flags: Annotated[
        list[str] | None, typer.Argument(help="After `--`: the engine's own flags, in place of the preset's.")
    ] = None,
) -> None:
    """Serve emulated engines under a seeded load until interrupted. Nothing about them is a real model.

    With flags of its own it starts or fails as the engine would.
    """
    try:
        made = fleet(
            preset(situation),
            engine=engine,
            release=release,
            replicas=replicas,
            seed=seed,
            start_s=SystemClock().now(),
            started=None if flags is None else _started(engine, flags),
        )
        if flags is not None:
            prepare(made.machine, made.replicas[0].launch)
        asyncio.run(_emulate(made, port, speed))
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong


def _started(engine: str, flags: list[str]) -> LaunchConfig:
    env = tuple((name, os.environ[name]) for name in sorted(engines.variables(engine)) if name in os.environ)
    return LaunchConfig(tuple(flags), env)


async def _emulate(made: Fleet, port: int, speed: float) -> None:
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    async with serve_fleet(made, SystemClock(), base_port=port, speed=speed, keep_going=True) as addresses:
        err.print(f"emulated {made.machine.engine} {made.machine.release}; interrupt to end")
        for one in addresses:
            out.print(one)
        await asked.wait()
