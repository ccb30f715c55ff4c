"""Real servers on loopback: the application under uvicorn, and inference servers that play pages or misbehave."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI


@asynccontextmanager
async def uvicorn_at_loopback(app: FastAPI) -> AsyncIterator[str]:
    """The application on a free port; its base address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=2))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


class Pages:
    """A server that answers `/metrics` with its pages in turn, the last one for ever, and 404 to all else."""

    def __init__(self, pages: Sequence[str]) -> None:
        self._pages = list(pages)
        self.url = ""

    async def __call__(self, path: str, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        if path != "/metrics":
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return
        page = self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]
        writer.write(head(len(page.encode())) + page.encode())


def head(length: int | None, kind: str = "text/plain") -> bytes:
    """The head of a good answer; without a length the body lasts until the connection ends."""
    size = "" if length is None else f"content-length: {length}\r\n"
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{size}connection: close\r\n\r\n".encode()


@asynccontextmanager
async def server(answer: Callable[[str, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A server on a free port that answers each request with `answer(path, writer)`; its base address."""

    busy: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        busy.add(asyncio.current_task())  # type: ignore[arg-type]
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            request = await reader.readuntil(b"\r\n\r\n")
            await answer(request.split(b" ")[1].decode(), writer)
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        await listening.wait_closed()
