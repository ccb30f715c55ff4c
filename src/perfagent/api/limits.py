"""A bound on what callers send, before anything is parsed."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1 << 20
"""A service with a thousand replicas is a tenth of it."""


class BodyLimit:
    """ASGI middleware: a request body that grows past `most` bytes ends with 413, however it is sent."""

    def __init__(self, app: ASGIApp, most: int = MOST_BYTES) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, f"at most {self._most} bytes are read")
            return message

        await self._app(scope, counted, send)
