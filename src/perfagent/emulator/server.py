"""Emulated replicas over HTTP on loopback, one port each.

A replica answers what its engine would (`/metrics`, `/health`, `/v1/completions`, its configuration endpoints) and,
beside that, `/emulator/launch` and `/emulator/status`, through which it is restarted with other flags. Real engines
refuse connections until they are up; here the port stays open for `/emulator`, and everything else answers 503.

One server listens on all ports, so a hundred replicas start and end as quickly as one.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from perfagent.emulator.fleet import Fleet
from perfagent.emulator.pace import Pace
from perfagent.emulator.routes import routes
from perfagent.ports import Clock
from perfagent.serving import address, listen, serving

TICK_S = 0.25


@asynccontextmanager
async def serve_fleet(
    fleet: Fleet,
    clock: Clock,
    host: str = "127.0.0.1",
    base_port: int = 0,
    *,
    speed: float = 1.0,
    keep_going: bool = False,
) -> AsyncIterator[tuple[str, ...]]:
    """Serves every replica until the block is left; gives their base addresses in the fleet's order.

    Ports count up from `base_port`, or are any free ones for 0. The fleet moves when somebody asks it something; with
    `keep_going` also by itself, for which the clock must run by itself. Raises `InvalidInput` for a port that is taken.
    """
    pace = Pace(fleet, clock, speed=speed)
    numbers = range(len(fleet.replicas))
    async with AsyncExitStack() as stack:
        sockets = [stack.enter_context(listen(host, base_port + number if base_port else 0)) for number in numbers]
        by_port = {
            one.getsockname()[1]: Starlette(routes=routes(pace, number))
            for number, one in zip(numbers, sockets, strict=True)
        }
        await stack.enter_async_context(serving(_by_port(by_port), *sockets))
        stack.callback(pace.stop)
        if keep_going:
            await stack.enter_async_context(_ticking(pace, clock))
        yield tuple(address(one) for one in sockets)


def _by_port(applications: Mapping[int, ASGIApp]) -> ASGIApp:
    """Hands each request to the application of the port that it came in on."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await applications[scope["server"][1]](scope, receive, send)

    return application


@asynccontextmanager
async def _ticking(pace: Pace, clock: Clock) -> AsyncIterator[None]:
    task = asyncio.create_task(_tick(pace, clock))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _tick(pace: Pace, clock: Clock) -> None:
    while True:
        pace.catch_up()
        await clock.sleep(TICK_S)
