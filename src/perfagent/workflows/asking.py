"""Asking replicas for answers takes longer than a turn of the loop may, so it goes on beside it.

Nothing is remembered of it over a restart: the state asks again, and the same questions have the same answers.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from perfagent.domain.errors import Unavailable
from perfagent.domain.quality import ANSWER_TOKENS, Answer, AnswerPair
from perfagent.domain.snapshot import Target
from perfagent.ports import Prober
from perfagent.workflows.events import Effect

AT_ONCE = 4
"""Questions that are out at the same time: no load worth mentioning, even where all fall on one replica."""
TRIES = 2
"""A question that fails once is asked again: a connection may break by chance."""

Question = tuple[Target, str]


def twice_in_turn(targets: Sequence[Target], prompts: Sequence[str]) -> list[Question]:
    """Each prompt to two replicas where there are two: how these differ is part of chance."""
    return [*in_turn(targets, prompts), *in_turn((*targets[1:], targets[0]), prompts)]


def in_turn(targets: Sequence[Target], prompts: Sequence[str]) -> list[Question]:
    """Each prompt to one of these replicas, which take turns."""
    return [(targets[k % len(targets)], prompt) for k, prompt in enumerate(prompts)]


def in_pairs(answers: Sequence[Answer]) -> tuple[AnswerPair, ...]:
    """The answers to `twice_in_turn`, by prompt."""
    half = len(answers) // 2
    return tuple(zip(answers[:half], answers[half:], strict=True))


@dataclass(slots=True)
class Asking:
    """What is being asked for each rollout."""

    prober: Prober
    _under_way: dict[str, tuple[Effect, asyncio.Task[tuple[Answer, ...]]]] = field(default_factory=dict)

    def answers(
        self, rollout_id: str, effect: Effect, engine: str, asked: Sequence[Question]
    ) -> tuple[Answer, ...] | None:
        """The answers in the order of the questions, or None while they are not all in; the first call begins.

        Whoever has got them, or the trouble, begins anew with the next call. Raises `Unavailable`.
        """
        known = self._under_way.get(rollout_id)
        if known is None or known[0] != effect:
            self.forget(rollout_id)
            self._under_way[rollout_id] = effect, asyncio.create_task(ask_all(self.prober, engine, asked))
            return None
        task = known[1]
        if not task.done():
            return None
        del self._under_way[rollout_id]
        return task.result()

    def forget(self, rollout_id: str) -> None:
        """Ask no further for a rollout."""
        _, task = self._under_way.pop(rollout_id, (None, None))
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """Ask nothing further: who comes next asks again."""
        for rollout_id in tuple(self._under_way):
            self.forget(rollout_id)


async def ask_all(prober: Prober, engine: str, asked: Sequence[Question]) -> tuple[Answer, ...]:
    """The answers in the order of the questions. Nothing is asked any more once one has found no answer.

    Raises `Unavailable`.
    """
    rest, found = iter(enumerate(asked)), dict[int, Answer]()

    async def some() -> None:
        for number, (target, prompt) in rest:
            found[number] = await _one(prober, engine, target, prompt)

    workers = [asyncio.create_task(some()) for _ in range(AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return tuple(found[number] for number in range(len(asked)))


async def _one(prober: Prober, engine: str, target: Target, prompt: str) -> Answer:
    for _ in range(TRIES - 1):
        try:
            return await prober.ask(target, engine, prompt, ANSWER_TOKENS)
        except Unavailable:
            continue
    return await prober.ask(target, engine, prompt, ANSWER_TOKENS)
