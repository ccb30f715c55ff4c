"""Emulated replicas over HTTP on loopback, one port each.

A replica answers what its engine would (`/metrics`, `/health`, `/v1/completions`, its configuration endpoints) and,
beside that, `/emulator/launch` and `/emulator/status`, through which it is restarted with other flags. Real engines
refuse connections until they are up; here the port stays open for `/emulator`, and everything else answers 503.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn
from starlette.applications import Starlette

from perfagent.domain.errors import InvalidInput
from perfagent.emulator.fleet import Fleet
from perfagent.emulator.pace import Pace
from perfagent.emulator.routes import routes
from perfagent.ports import Clock

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
    with _listening(host, base_port, len(fleet.replicas)) as sockets:
        servers = [_Server(_config(pace, replica)) for replica in range(len(fleet.replicas))]
        tasks = [asyncio.create_task(server.serve(sockets=[one])) for server, one in zip(servers, sockets, strict=True)]
        ticking = asyncio.create_task(_tick(pace, clock)) if keep_going else None
        try:
            yield tuple(f"http://{host}:{one.getsockname()[1]}" for one in sockets)
        finally:
            if ticking is not None:
                ticking.cancel()
                with suppress(asyncio.CancelledError):
                    await ticking
            for server in servers:
                server.should_exit = True
            await asyncio.gather(*tasks)


class _Server(uvicorn.Server):
    """Leaves the process's signals alone: they belong to whoever runs the fleet."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(pace: Pace, replica: int) -> uvicorn.Config:
    return uvicorn.Config(
        Starlette(routes=routes(pace, replica)),
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=1,
    )


async def _tick(pace: Pace, clock: Clock) -> None:
    while True:
        pace.catch_up()
        await clock.sleep(TICK_S)


@contextmanager
def _listening(host: str, base_port: int, count: int) -> Iterator[list[socket.socket]]:
    """Sockets that listen already: who connects before its server is up waits for it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with _all_closed() as sockets:
        for number in range(count):
            # asyncio turns Nagle's algorithm off only where the protocol is named, and a page would take 40 ms
            one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port = base_port + number if base_port else 0
            try:
                one.bind((host, port))
            except OSError as error:
                raise InvalidInput(f"{host}:{port} is not free for an emulated server: {error.strerror}") from error
            one.listen(128)
        yield sockets


@contextmanager
def _all_closed() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()
