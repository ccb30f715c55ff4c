"""What replicas answer to fixed prompts, and how much of it a change may alter."""

from dataclasses import dataclass

from perfagent.domain.errors import InvalidInput
from perfagent.domain.verdict import Verdict

ANSWER_TOKENS = 64
"""Longest answer that is asked for. Only tokens up to the first that differs are compared, and of answers that differ
in one token of a hundred half have done so by then."""

MOST_PROMPTS = 100
LONGEST_PROMPT = 10_000
"""Characters. Both bound what a plan has to carry."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a replica answered to a prompt when it always took the likeliest token."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...] = ()
    """Of each token, as the replica saw it; empty where it tells none."""


AnswerPair = tuple[Answer, Answer]
"""Two answers to the same prompt, given while nothing was changed: how far they differ is chance."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What is asked where a change may alter answers, and how far they may differ beyond chance.

    The limits lie between what 8 and what 4 bits a weight make of Llama 2 7B and Llama 3 8B in llama.cpp's measurements
    (tools/perplexity/README.md: another likeliest token at 1.2 and 2.3 % of the places against 5.3 and 8.1 %, token
    probabilities off by 0.6 and 1.2 % against 3.3 and 5.5 %, root mean square). So 8 bits that are as good as those
    pass, and with 4 a person decides.
    """

    prompts: tuple[str, ...] = ()
    """Empty in a service's policy: those of the agent."""
    tokens_differ: float = 0.05
    """Share of the places at which another token follows the same text."""
    probability_shift: float = 0.03
    """Root mean square of how much more or less probable the replica holds a token."""

    def __post_init__(self) -> None:
        if len(self.prompts) > MOST_PROMPTS or any(not 0 < len(each) <= LONGEST_PROMPT for each in self.prompts):
            raise InvalidInput(
                f"answers are compared on at most {MOST_PROMPTS} prompts of 1 to {LONGEST_PROMPT} characters"
            )
        for name, share in (("tokens_differ", self.tokens_differ), ("probability_shift", self.probability_shift)):
            if not 0 < share <= 1:
                raise InvalidInput(f"{name} is a share above 0, up to 1, not {share}")


@dataclass(frozen=True, slots=True)
class Differing:
    """At how many places another token followed the same text."""

    places: int
    others: int

    @property
    def share(self) -> float:
        """Of the places; 0 where there are none."""
        return self.others / self.places if self.places else 0.0


@dataclass(frozen=True, slots=True)
class QualityVerdict:
    """What the answers of replicas with a change say of it: promote or hold, and everything that it was made from.

    They never say roll back: another answer is not a worse one, and which it is a person has to see.
    """

    verdict: Verdict
    reason: str
    answers: tuple[Answer, ...] = ()
    """One to each prompt; empty where replicas could not be asked."""
    differing: Differing | None = None
    """From the answers before the change."""
    usual: Differing | None = None
    """Of these among themselves, which is chance."""
    probability_shift: float | None = None
    """Beyond chance; None where no probabilities were told."""

    @property
    def asked(self) -> bool:
        """Whether there are answers to judge by."""
        return bool(self.answers)
