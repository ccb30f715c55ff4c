"""Clients of real servers for a demo: arrivals that wait for nobody, streamed answers, and what each client saw.

They stand for users behind a router that sends to replicas in rotation only; a client goes away when its first token
does not come in time.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import httpx

from perfagent.ports import Clock

PROMPT_TOKENS = (128, 384)
OUTPUT_TOKENS = (48, 96)
"""Lengths are drawn evenly between these: a short question and a paragraph."""
FIRST_ID, LAST_ID = 300, 1990
"""Prompts are token numbers, so that lengths are exact; any vocabulary has these."""
PATIENCE_S = 30.0
MOST_AT_ONCE = 200
KEPT = 20_000


@dataclass(slots=True)
class Answer:
    """What one client saw."""

    address: str
    sent_s: float
    first_s: float | None = None
    last_s: float | None = None
    tokens: int = 0
    ended: str = "open"
    """`served`, `gave up` or `failed`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What clients saw in a while."""

    ttft_s: float | None
    itl_s: float | None
    e2e_s: float | None
    tokens_per_s: float
    gave_up_per_min: float
    failed: int


@dataclass
class Clients:
    """Open-loop load on whatever replicas are in rotation."""

    model: str
    clock: Clock
    rotation: Callable[[], Sequence[str]]
    """Addresses of the replicas to send to; nothing is sent while there is none."""
    seed: int = 1
    answers: list[Answer] = field(default_factory=list)
    skipped: int = 0
    """Arrivals that were not sent, because too many were under way."""

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311
        limits = httpx.Limits(max_connections=MOST_AT_ONCE + 8)
        self._client = httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(600.0, connect=5.0), limits=limits)
        self._under_way: set[asyncio.Task[None]] = set()
        self._turn = 0

    async def send(self, rate_per_s: float) -> None:
        """Arrivals at this rate until cancelled, one after the other at random times."""
        due_s = self.clock.monotonic()
        try:
            while True:
                due_s += self._random.expovariate(rate_per_s)
                await self.clock.sleep(due_s - self.clock.monotonic())
                if len(self._under_way) >= MOST_AT_ONCE or len(self.answers) >= KEPT:
                    self.skipped += 1
                elif there := self.rotation():
                    self._turn += 1
                    task = asyncio.create_task(self._ask(there[self._turn % len(there)]))
                    self._under_way.add(task)
                    task.add_done_callback(self._under_way.discard)
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            await self._client.aclose()

    async def serve_at_once(self, count: int, seconds: float) -> float:
        """Answers per second that a replica in rotation ends while it always has `count` requests."""
        start_s, before = self.clock.monotonic(), len(self.answers)

        async def busy() -> None:
            while True:
                await self._ask(self.rotation()[0])

        tasks = [asyncio.create_task(busy()) for _ in range(count)]
        await self.clock.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        served = sum(answer.ended == "served" for answer in self.answers[before:])
        return served / (self.clock.monotonic() - start_s)

    def seen(self, seconds: float, addresses: Collection[str] | None = None) -> Seen:
        """What happened in the last seconds to clients, of these replicas or of all."""
        since_s = self.clock.monotonic() - seconds
        chosen = (each for each in self.answers if addresses is None or each.address in addresses)
        lately = [each for each in chosen if each.sent_s >= since_s]
        firsts = [each.first_s - each.sent_s for each in lately if each.first_s is not None]
        served = [each for each in lately if each.ended == "served" and each.first_s and each.last_s]
        gaps = sum(each.tokens - 1 for each in served)
        gap_s = sum((each.last_s or 0) - (each.first_s or 0) for each in served)
        whole = [(each.last_s or 0) - each.sent_s for each in served]
        return Seen(
            ttft_s=sum(firsts) / len(firsts) if firsts else None,
            itl_s=gap_s / gaps if gaps else None,
            e2e_s=sum(whole) / len(whole) if whole else None,
            tokens_per_s=sum(each.tokens for each in lately) / seconds,
            gave_up_per_min=60 * sum(each.ended == "gave up" for each in lately) / seconds,
            failed=sum(each.ended == "failed" for each in lately),
        )

    async def _ask(self, address: str) -> None:
        answer = Answer(address, self.clock.monotonic())
        self.answers.append(answer)
        try:
            async with asyncio.timeout(PATIENCE_S) as patience:
                await self._stream(address, answer, patience)
            answer.ended = "served" if answer.tokens else "failed"
        except TimeoutError:
            answer.ended = "gave up"
        except httpx.HTTPError:
            answer.ended = "failed"

    async def _stream(self, address: str, answer: Answer, patience: asyncio.Timeout) -> None:
        draw = self._random.randint
        body = {
            "model": self.model,
            "prompt": [draw(FIRST_ID, LAST_ID) for _ in range(draw(*PROMPT_TOKENS))],
            "max_tokens": draw(*OUTPUT_TOKENS),
            "stream": True,
            "ignore_eos": True,
        }
        async with self._client.stream("POST", f"{address}/v1/completions", json=body) as told:
            told.raise_for_status()
            async for line in told.aiter_lines():
                if line.startswith("data: {"):
                    answer.last_s = self.clock.monotonic()
                    if answer.first_s is None:
                        answer.first_s = answer.last_s
                        patience.reschedule(None)
                    answer.tokens += 1


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
