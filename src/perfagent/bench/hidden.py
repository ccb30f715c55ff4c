"""What a real server does that no forecast knows: its own constants, and steps that do not follow the twin's form.

The twin's form is convenient, kernels and hosts are not. Everything here is drawn per server and kept from whoever
forecasts. The ranges are assumptions unless a source stands beside them; none was chosen by how forecasts came out.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from math import ceil, exp, log, pi, sin
from typing import Self

import numpy as np

from perfagent.twin import StepTime
from perfagent.twin.belief import PARAMETERS

OWN_CONSTANTS = 1.5
"""Each constant is up to so many times what the data sheet suggests, or as much below."""
OWN_RATIOS = 1.25
"""Each constant after a change of data types is up to so many times what is published for such a change, or as much
below. Source: published ratios are good to 10-20 %, and this range has a standard deviation of 13 %."""
SHARPEST, SOFTEST = 6.0, 1.5
"""Exponents of the norm that joins memory and arithmetic; infinity would be the roofline's corner."""
TILES = (1, 64, 128)
"""Rows that a matrix kernel computes at once: a part of a tile costs a whole one (NVIDIA, Matrix Multiplication
Background, "tile quantization")."""
GRAPH = 8
"""Sequences by which captured decode graphs grow (vLLM's and SGLang's default capture sizes from 8 on)."""
WAVES = (1, 4, 8, 16)
"""Sequences whose attention fills the GPU once: a part of a wave costs a whole one (same source, "wave
quantization")."""
JITTER = (0.02, 0.15)
"""Standard deviation of the logarithm of every step, independently."""
STALL_EVERY_S, STALL_S = (5.0, 60.0), (0.02, 0.2)
"""Mean seconds of work between two stalls (collected garbage, a neighbour on the host), and their mean length."""
SWAY, SWAY_PERIOD_S = (0.0, 0.05), (60.0, 600.0)
"""By how much the speed goes up and down (clocks, temperature), and how slowly."""
LATELY = 0.02
"""Standard deviation of what a restart alone does to the speed, as a logarithm."""
LOST_BLOCKS = (0.0, 0.05)
"""Share of the KV cache that fragments and other processes take."""
FRONT_END_S, TOKENIZING_S = (0.001, 0.03), (1e-6, 1e-5)
"""Seconds per request before the scheduler sees it, and on top per prompt token, one request after the other."""


@dataclass(frozen=True, slots=True)
class Physics:
    """One server's."""

    constants: StepTime
    """As shares of what data sheet and model shape suggest."""
    ratios: StepTime
    """After a change of data types, on top, as shares of what is published."""
    corner: float
    tile: int
    wave: int
    jitter: float
    stall_every_s: float
    stall_s: float
    sway: float
    sway_period_s: float
    blocks: float
    """Share of the KV cache that is there."""
    front_end_s: float
    tokenizing_s: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Any server's."""
        return cls(
            constants=_factors(rng, OWN_CONSTANTS),
            ratios=_factors(rng, OWN_RATIOS),
            corner=float(np.exp(rng.uniform(log(SOFTEST), log(SHARPEST)))),
            tile=int(rng.choice(TILES)),
            wave=int(rng.choice(WAVES)),
            jitter=float(rng.uniform(*JITTER)),
            stall_every_s=float(rng.uniform(*STALL_EVERY_S)),
            stall_s=float(rng.uniform(*STALL_S)),
            sway=float(rng.uniform(*SWAY)),
            sway_period_s=float(rng.uniform(*SWAY_PERIOD_S)),
            blocks=1 - float(rng.uniform(*LOST_BLOCKS)),
            front_end_s=float(rng.uniform(*FRONT_END_S)),
            tokenizing_s=float(rng.uniform(*TOKENIZING_S)),
        )

    def own(self, sheet: StepTime, before: StepTime | None = None) -> StepTime:
        """This server's constants, where data sheet, model shape and data types suggest these.

        `before` is what they suggested of other data types: what a change leaves alone stays exactly as it was.
        """
        own = sheet.times(self.constants)
        if before is None:
            return own
        asked = zip(astuple(before), astuple(sheet), astuple(self.ratios), strict=True)
        return own.times(StepTime(*(1.0 if was == now else ratio for was, now, ratio in asked)))


class HiddenPace:
    """One process's steps, in order."""

    def __init__(self, physics: Physics, constants: StepTime, rng: np.random.Generator) -> None:
        self._physics, self._of, self._rng = physics, constants, rng
        self._faster = exp(LATELY * rng.standard_normal())
        self._phase = 2 * pi * float(rng.random())
        self._worked_s = 0.0
        self._stall_at_s = float(rng.exponential(physics.stall_every_s))

    def seconds(self, tokens: int, sequences: int, context_tokens: int, pairs: float) -> float:
        """The next step."""
        physics, rng = self._physics, self._rng
        turn = 2 * pi * self._worked_s / physics.sway_period_s + self._phase
        took = self._work_s(tokens, sequences, context_tokens, pairs) * self._faster * (1 + physics.sway * sin(turn))
        took *= exp(physics.jitter * rng.standard_normal() - physics.jitter**2 / 2)
        self._worked_s += took
        if self._worked_s >= self._stall_at_s:
            self._stall_at_s = self._worked_s + float(rng.exponential(physics.stall_every_s))
            took += float(rng.exponential(physics.stall_s))
        return took

    def decoding(self, sequences: int) -> Callable[[int], float]:
        """The next steps, as long as only so many decode."""
        return lambda context_tokens: self.seconds(sequences, sequences, context_tokens, 0.0)

    def scaled(self, factor: float) -> "HiddenPace":
        """From now on with every step taking `factor` times as long."""
        return HiddenPace(self._physics, self._of.scaled(factor), self._rng)

    def _work_s(self, tokens: int, sequences: int, context_tokens: int, pairs: float) -> float:
        """What the kernels take.

        Far below the ridge and far above it the tokens cost what they cost in the twin's form; between the two, and
        in how batch and prompt are cut into pieces of hardware, nothing is alike.
        """
        of, physics = self._of, self._physics
        piece = physics.tile if pairs else GRAPH
        read_s = min(of.per_token_s * of.ridge_tokens, of.base_s)
        compute_s = of.per_token_s * piece * ceil(tokens / piece)
        joined = float((1 + (compute_s / read_s) ** physics.corner) ** (1 / physics.corner))
        took = of.base_s - read_s + read_s * joined
        took += of.per_sequence_s * sequences + of.per_pair_s * pairs + (of.prompt_step_s if pairs else 0.0)
        waves = physics.wave * ceil(sequences / physics.wave) / sequences if sequences else 1.0
        return took + of.per_context_token_s * context_tokens * waves


def _factors(rng: np.random.Generator, most: float) -> StepTime:
    return StepTime(*np.exp(rng.uniform(-log(most), log(most), len(PARAMETERS))).tolist())
