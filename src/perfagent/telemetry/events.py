"""A journal that tells listeners what it has just recorded, or read of other agents on the same store.

A listener that does not keep up loses events, never the agent its memory: each has a bounded queue, and is told how
many it missed. What was missed is in the journal.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from perfagent.domain.errors import Unavailable
from perfagent.ports import Journal, Recorded

QUEUE = 256
"""Events that wait for one listener; a whole rollout has a few dozen."""
LISTENERS = 64

_LOG = logging.getLogger(__name__)


class Listener:
    """One listener's queue; a `ports.Subscription`."""

    def __init__(self, size: int) -> None:
        self._kept: deque[Recorded] = deque(maxlen=size)
        self._missed = 0
        self._news = asyncio.Event()
        self._ended = False

    def tell(self, event: Recorded) -> bool:
        """Queue an event in place of the oldest one when there is no room; False when one was lost."""
        full = len(self._kept) == self._kept.maxlen
        self._missed += full
        self._kept.append(event)
        self._news.set()
        return not full

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._news.set()

    async def next(self) -> tuple[int, Sequence[Recorded]] | None:
        """Wait for news: how many were lost, then those kept; None when nothing more comes."""
        await self._news.wait()
        if self._ended and not self._kept:
            return None
        news = self._missed, tuple(self._kept)
        self._missed = 0
        self._kept.clear()
        if not self._ended:
            self._news.clear()
        return news


class ObservedJournal:
    """A `Journal` around another one, and a `Feed` of what is appended. Listeners live on the appending thread."""

    def __init__(self, journal: Journal, *, queue: int = QUEUE, listeners: int = LISTENERS) -> None:
        self._journal = journal
        self._queue = queue
        self._most = listeners
        self._listeners: set[Listener] = set()
        self.missed = 0
        """Events that some listener lost."""
        self._own: set[tuple[str, int]] = set()
        """What was appended here and not read back yet."""

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def append(
        self,
        rollout_id: str,
        seq: int,
        at_s: float,
        kind: str,
        body: str,
        *,
        token: int | None = None,
        seen: int | None = None,
    ) -> None:
        """Record an event, then tell it. What could not be recorded is not told."""
        self._journal.append(rollout_id, seq, at_s, kind, body, token=token, seen=seen)
        self._own.add((rollout_id, seq))
        self._tell(Recorded(rollout_id, seq, at_s, kind, body))

    def events(self, rollout_id: str) -> Sequence[tuple[int, float, str, str]]:
        """All events of a rollout, in order."""
        return self._journal.events(rollout_id)

    def after(self, position: int) -> Sequence[tuple[int, Recorded]]:
        """What was journalled after that position. What other agents appended is told to listeners now."""
        news = self._journal.after(position)
        for _, event in news:
            if (event.rollout_id, event.seq) in self._own:
                self._own.discard((event.rollout_id, event.seq))
            else:
                self._tell(event)
        return news

    @contextmanager
    def subscribe(self) -> Iterator[Listener]:
        """Listen while the context lasts. Raises `Unavailable` when too many listen already."""
        if len(self._listeners) >= self._most:
            _LOG.warning("%d listen to events already; another one was refused", self._most)
            raise Unavailable(f"{self._most} listen to events already; try again later")
        listener = Listener(self._queue)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def _tell(self, event: Recorded) -> None:
        for listener in self._listeners:
            if not listener.tell(event):
                self.missed += 1
                _LOG.warning("a listener does not keep up: an event of %s was dropped from its queue", event.rollout_id)

    def close(self) -> None:
        """Let every listener go, so that a server that shuts down need not wait for them."""
        for listener in self._listeners:
            listener.end()
