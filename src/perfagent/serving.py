"""One ASGI application on one or more ports, inside this process; signals stay with whoever runs the process."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from perfagent.domain.errors import InvalidInput

GRACE_S = 2
"""How long requests under way may take once the server is told to end."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens already: who connects before its server is up waits for it. Port 0 takes a free one.

    Raises `InvalidInput` where the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named, and a page would take 40 ms
    one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind((host, port))
    except (OSError, OverflowError, TypeError) as error:  # TypeError: what cannot be the name of a host
        one.close()
        raise InvalidInput(f"{host}:{port} cannot be listened on: {getattr(error, 'strerror', error)}") from error
    one.listen(128)
    return one


def address(one: socket.socket) -> str:
    """The base address that a listening socket is reached at."""
    host, port = one.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def serving(application: Any, *sockets: socket.socket) -> AsyncIterator[None]:
    """Serves the application on the sockets until the block is left, and closes them."""
    server = _Server(
        uvicorn.Config(
            application,
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    task = asyncio.create_task(server.serve(sockets=list(sockets)))
    try:
        yield
    finally:
        server.should_exit = True
        await task
        for one in sockets:
            one.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
