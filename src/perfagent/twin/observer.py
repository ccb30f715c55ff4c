"""What a replica tells while it runs; the emulator turns it into metrics, the twin into a forecast."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from perfagent.twin.workload import Request


@dataclass(frozen=True, slots=True)
class Finished:
    """One request from arrival to last token.

    The queue ends when the request is first put into a step, as vLLM counts it: time lost to preemption is part of
    `prefill_s` or `decode_s`.
    """

    request: Request
    finished_s: float
    queue_s: float
    ttft_s: float
    prefill_s: float
    decode_s: float
    e2e_s: float


class Observer(Protocol):
    """Called when a step ends, in this order: `step`, `tokens`, `first_token`, `finished`.

    `prefix` and `preempted` are called while a step is planned. `decoded` stands for many calls of `step` and `tokens`.
    """

    def step(self, at_s: float, duration_s: float, prompt_tokens: int, decode_tokens: int) -> None:
        """A step that ended at `at_s`; prompt tokens are those computed in it, chunks and recomputation included."""

    def tokens(self, at_s: float, gap_s: float, count: int) -> None:
        """`count` sequences each produced a token, `gap_s` after their previous one."""

    def decoded(self, start_s: float, since_s: float, ends_s: Sequence[float], count: int) -> None:
        """Steps, one right after the other from `start_s` on, that only gave the same `count` sequences a token each.

        These had their previous token at `since_s`.
        """

    def first_token(self, request: Request, at_s: float, queue_s: float, ttft_s: float) -> None:
        """A request's first token came out."""

    def finished(self, record: Finished) -> None:
        """A request's last token came out."""

    def preempted(self, request: Request, at_s: float) -> None:
        """A running request lost its blocks and is back at the head of the queue."""

    def prefix(self, queried_tokens: int, hit_tokens: int) -> None:
        """A request was admitted for the first time; vLLM up to 0.26 also counts every attempt that failed."""
