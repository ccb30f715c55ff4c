"""Questions go out beside the loop: in turn, a few at a time, once more where one fails."""

import asyncio
from dataclasses import dataclass, field

import pytest

from perfagent.domain.errors import Unreachable
from perfagent.domain.quality import Answer
from perfagent.domain.snapshot import Target
from perfagent.workflows.asking import AT_ONCE, Asking, Question, in_pairs, in_turn, twice_in_turn
from perfagent.workflows.events import AskBefore, Probe

BEFORE, PROBE = AskBefore(), Probe(("a",))


@dataclass
class Oracle:
    """Repeats each prompt when it is told to go on."""

    failures: dict[str, int] = field(default_factory=dict)
    """How often a prompt fails."""
    asked: list[str] = field(default_factory=list)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, target: Target, engine: str, prompt: str, tokens: int) -> Answer:
        self.asked.append(prompt)
        await self.goes_on.wait()
        if self.failures.get(prompt, 0) > 0:
            self.failures[prompt] -= 1
            raise Unreachable(f"{target.id} is silent")
        return Answer((prompt,))


def prompts(count: int) -> list[Question]:
    return [(Target("a", "http://a"), str(k)) for k in range(count)]


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_answers_come_in_the_order_of_the_questions_when_all_are_in() -> None:
    oracle = Oracle()
    asking = Asking(oracle)
    assert asking.answers("r1", BEFORE, "vllm", prompts(10)) is None
    await settled()
    assert len(oracle.asked) == AT_ONCE
    assert asking.answers("r1", BEFORE, "vllm", prompts(10)) is None
    oracle.goes_on.set()
    await settled()
    answers = asking.answers("r1", BEFORE, "vllm", prompts(10))
    assert answers == tuple(Answer((str(k),)) for k in range(10))
    assert len(oracle.asked) == 10


async def test_a_question_that_fails_once_is_asked_again() -> None:
    oracle = Oracle({"3": 1})
    oracle.goes_on.set()
    asking = Asking(oracle)
    asking.answers("r1", BEFORE, "vllm", prompts(6))
    await settled()
    assert asking.answers("r1", BEFORE, "vllm", prompts(6)) is not None
    assert oracle.asked.count("3") == 2


async def test_after_a_failure_nothing_more_is_asked_until_somebody_begins_anew() -> None:
    oracle = Oracle({"0": 2})
    oracle.goes_on.set()
    asking = Asking(oracle)
    asking.answers("r1", BEFORE, "vllm", prompts(100))
    await settled()
    with pytest.raises(Unreachable, match="a is silent"):
        asking.answers("r1", BEFORE, "vllm", prompts(100))
    known = len(oracle.asked)
    await settled()
    assert len(oracle.asked) == known
    assert asking.answers("r1", BEFORE, "vllm", prompts(100)) is None


async def test_what_is_no_longer_asked_for_is_given_up() -> None:
    oracle = Oracle()
    asking = Asking(oracle)
    asking.answers("r1", BEFORE, "vllm", prompts(10))
    asking.answers("r2", BEFORE, "vllm", prompts(1))
    await settled()
    asking.forget("r1")
    oracle.goes_on.set()
    await settled()
    assert len(oracle.asked) == AT_ONCE + 1
    assert asking.answers("r2", BEFORE, "vllm", prompts(1)) == (Answer(("0",)),)
    asking.forget("never heard of")


async def test_at_the_end_everything_is_given_up() -> None:
    oracle = Oracle()
    asking = Asking(oracle)
    for rollout in ("r1", "r2"):
        asking.answers(rollout, BEFORE, "vllm", prompts(10))
    await settled()
    asking.close()
    oracle.goes_on.set()
    await settled()
    assert len(oracle.asked) == 2 * AT_ONCE


async def test_another_question_takes_the_place_of_the_one_before() -> None:
    oracle = Oracle()
    asking = Asking(oracle)
    asking.answers("r1", BEFORE, "vllm", prompts(10))
    await settled()
    asking.answers("r1", PROBE, "vllm", prompts(2))
    oracle.goes_on.set()
    await settled()
    assert asking.answers("r1", PROBE, "vllm", prompts(2)) == (Answer(("0",)), Answer(("1",)))


def test_each_prompt_goes_to_two_replicas_before_and_to_one_after_and_they_take_turns() -> None:
    a, b, c = (Target(name, f"http://{name}") for name in "abc")
    assert in_turn((a, b), "xyz") == [(a, "x"), (b, "y"), (a, "z")]
    assert twice_in_turn((a, b, c), "xy") == [(a, "x"), (b, "y"), (b, "x"), (c, "y")]
    assert twice_in_turn((a,), "x") == [(a, "x"), (a, "x")]


def test_answers_before_are_paired_by_prompt() -> None:
    one, two, three, four = (Answer((str(k),)) for k in range(4))
    assert in_pairs((one, two, three, four)) == ((one, three), (two, four))
