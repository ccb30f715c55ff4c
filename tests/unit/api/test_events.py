"""The stream is read at the ASGI interface: httpx's transport would wait for its end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from perfagent.ports import Recorded
from support.api import Site, problem, site


class Stream:
    """One listener's stream, event by event."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(self, message: Any) -> None:
        await self.messages.put(message)

    async def next(self) -> str:
        """The next piece of the body."""
        async with asyncio.timeout(5):
            message = await self.messages.get()
        body: bytes = message.get("body", b"")
        return body.decode()


@asynccontextmanager
async def listening(at: Site, query: str = "") -> AsyncIterator[Stream]:
    stream, never = Stream(), asyncio.Event()
    body = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        for message in body:
            return message
        await never.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": "/api/v1/events", "raw_path": b"/api/v1/events", "query_string": query.encode(),
        "headers": [(b"host", b"agent")], "client": ("127.0.0.1", 1), "server": ("agent", 80), "root_path": "",
    }  # fmt: skip
    task = asyncio.create_task(at.app(scope, receive, stream.send))
    try:
        start = await stream.messages.get()
        assert start["status"] == 200
        assert (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
        assert (await stream.next()).startswith(":")
        yield stream
    finally:
        never.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await task
        assert at.journal.listeners == 0


def record(at: Site, rollout: str, seq: int) -> None:
    at.journal.append(rollout, seq, 1_800_000_000.0, "applied", json.dumps({"at_s": 1_800_000_000.0}))


async def test_what_is_journalled_is_told(at: Site) -> None:
    async with listening(at) as stream:
        record(at, "r1", 0)
        written = await stream.next()
    lines = dict(line.split(": ", 1) for line in written.strip().splitlines())
    assert (lines["event"], lines["id"]) == ("applied", "r1:0")
    told = json.loads(lines["data"])
    assert (told["workflow_id"], told["seq"], told["kind"]) == ("r1", 0, "applied")
    assert told["at"].startswith("2027-01-15T08:00:00")


async def test_one_workflow_can_be_listened_to_alone(at: Site) -> None:
    async with listening(at, "workflow_id=r2") as stream:
        record(at, "r1", 0)
        record(at, "r2", 0)
        assert "r2:0" in await stream.next()


async def test_a_listener_that_does_not_keep_up_is_told_what_it_missed() -> None:
    async with site(queue=2) as at, listening(at) as stream:
        for seq in range(5):
            record(at, "r1", seq)
        assert "event: missed" in (missed := await stream.next())
        assert json.loads(missed.partition("data: ")[2]) == {"missed": 3}
        assert "r1:3" in await stream.next()
        assert "r1:4" in await stream.next()


async def test_too_many_listeners_are_refused() -> None:
    async with site(listeners=1) as at, listening(at):
        assert problem(await at.get("/events")) == (503, "unavailable")


async def test_a_stream_ends_when_the_agent_does(at: Site) -> None:
    async with listening(at) as stream:
        at.journal.close()
        assert await stream.next() == ""


async def test_a_quiet_stream_shows_that_it_lives(at: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfagent.api.events.SILENCE_S", 0.01)
    async with listening(at) as stream:
        assert (await stream.next()).startswith(":")
        record(at, "r1", 0)
        while (written := await stream.next()).startswith(":"):
            pass
        assert Recorded("r1", 0, 0.0, "applied", "").kind in written
