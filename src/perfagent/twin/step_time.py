"""How long one engine step takes, from what is in it.

With N tokens in the step, D decoding sequences, K context tokens that it reads and A query-key pairs of prompts:

    t = base_s + per_token_s · softplus(N − ridge_tokens)
        + per_sequence_s · D + per_context_token_s · K + per_pair_s · A
        + prompt_step_s, if A > 0

The base reads the weights once; below the ridge that read takes longer than the arithmetic, so tokens ride along
for free; above it each token costs arithmetic. The corner between the two is soft, because kernels differ. A step
with a piece of a prompt in it runs other kernels and leaves the graphs captured for decoding, hence a cost of its own.
The context is what decoding sequences have behind them, and what was computed before a piece of a prompt.
"""

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from operator import mul
from typing import Protocol

CORNER_TOKENS = 30.0


def softplus(tokens: float) -> float:
    """max(0, tokens) with a rounded corner `CORNER_TOKENS` wide; never overflows."""
    return max(tokens, 0.0) + CORNER_TOKENS * math.log1p(math.exp(-abs(tokens) / CORNER_TOKENS))


class Pace(Protocol):
    """How long steps take, whatever that hangs on."""

    def seconds(self, tokens: int, sequences: int, context_tokens: int, pairs: float) -> float:
        """The next step, which is not empty; each step is asked for once, in order."""

    def decoding(self, sequences: int) -> Callable[[int], float]:
        """The same for steps in which only so many decode: their time by the context that they read."""

    def scaled(self, factor: float) -> "Pace":
        """The same from now on with every step taking `factor` times as long."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """The constants of one (model, engine release, GPU, data types)."""

    base_s: float
    per_token_s: float
    ridge_tokens: float
    per_sequence_s: float
    per_context_token_s: float
    per_pair_s: float
    prompt_step_s: float

    def seconds(self, tokens: int, sequences: int, context_tokens: int, pairs: float) -> float:
        """One step that is not empty."""
        return (
            self._fixed_s(tokens, sequences)
            + self.per_context_token_s * context_tokens
            + self.per_pair_s * pairs
            + (self.prompt_step_s if pairs else 0.0)
        )

    def decoding(self, sequences: int) -> Callable[[int], float]:
        """Steps in which only so many decode: their time by the context that they read."""
        fixed_s, per_token_s = self._fixed_s(sequences, sequences), self.per_context_token_s
        return lambda context_tokens: fixed_s + per_token_s * context_tokens

    def _fixed_s(self, tokens: int, sequences: int) -> float:
        return self.base_s + self.per_token_s * softplus(tokens - self.ridge_tokens) + self.per_sequence_s * sequences

    def scaled(self, factor: float) -> "StepTime":
        """Of a machine on which every step takes `factor` times as long."""
        return self.times(StepTime(factor, factor, 1.0, factor, factor, factor, factor))

    def times(self, ratio: "StepTime") -> "StepTime":
        """Each constant times its own ratio."""
        return StepTime(*map(mul, astuple(self), astuple(ratio)))
