"""What data types do to a model's size and speed.

Halving the bytes does not halve the time: kernels differ. The ratios of step-time constants are a small table from a
public kernel database for the H200 (aiconfigurator's), rounded; with what kernels for other GPUs and types stray from
it. They are a prior: a canary's own metrics say it better.
"""

from dataclasses import astuple, dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from perfagent.twin.belief import PARAMETERS, Belief, from_log
from perfagent.twin.step_time import StepTime

_EIGHT_BITS = ("fp8", "mxfp8", "w8a8", "int8", "eetq")
_FOUR_BITS = ("nvfp4", "mxfp4", "fp4", "int4", "bitsandbytes-")
_FULL = frozenset({"auto", "bf16", "bfloat16", "float16", "half", "none", "None", "unquant"})
FULL_BYTES = 2.0
"""Per number in 16 bits, as checkpoints usually come."""
QUANTISED_SHARE = 0.91
"""Of a model's parameters; embeddings and the output layer stay in 16 bits. By the cards' shapes they are 13 % of
Llama 3.1 8B, 10 % of Qwen 2.5 14B and 3 % of Llama 3.1 70B."""
TABLE_GPU = "h200"
"""The one whose kernels the table has."""
MEASURED = "what this change of data types does to the step time was measured on such servers before"
SIZES = (FULL_BYTES, 1.0, 0.5)
"""Every size that a number may have."""


@dataclass(frozen=True, slots=True)
class DataTypes:
    """Bytes per weight and per cached number."""

    weight_bytes: float = FULL_BYTES
    kv_bytes: float = FULL_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Ratios:
    """Step-time constants after a change of data types, each as a share of what it was.

    `log_covariance` tells how the logarithms err, rows in the order of `PARAMETERS`; what surely stays errs by nothing.
    """

    ratio: StepTime
    log_covariance: NDArray[np.float64]
    source: str = ""
    """Where they come from, for people, when it is not the small table here."""

    @classmethod
    def independent(cls, ratio: StepTime, log_sd: StepTime) -> Self:
        """Ratios that err independently, each by its own standard deviation of the logarithm."""
        return cls(ratio, np.diag(np.square(np.array(astuple(log_sd)))))

    @property
    def log_sd(self) -> dict[str, float]:
        """Relative uncertainty of each ratio, for small ones."""
        return dict(zip(PARAMETERS, np.sqrt(np.diag(self.log_covariance)).tolist(), strict=True))

    def draw(self, rng: np.random.Generator) -> StepTime:
        """Ratios as likely as that says."""
        variances, axes = np.linalg.eigh(self.log_covariance)
        root = axes * np.sqrt(np.maximum(variances, 0.0)) @ axes.T
        return self.ratio.times(from_log(root @ rng.standard_normal(len(PARAMETERS))))

    def measured(self, before: Belief, after: Belief) -> Self:
        """These, once servers of both types were measured.

        Servers of the second types would be believed to be those of the first, times these. Only where measurements say
        it more surely than that do they count, direction by direction in the space of the constants, and for as much
        of the difference as the ratios rather than the first servers' constants were unsure of.
        """
        carried = before.log_covariance + self.log_covariance
        white = np.linalg.inv(np.linalg.cholesky(carried))
        left, axes = np.linalg.eigh(white @ after.log_covariance @ white.T)
        told = 1 - np.minimum(left, 1.0)
        towards = axes.T @ white
        gain = self.log_covariance @ towards.T
        log_ratio = np.log(np.array(astuple(self.ratio)))
        surprise = after.log_mean - before.log_mean - log_ratio
        return type(self)(
            from_log(log_ratio + gain @ (told * (towards @ surprise))),
            self.log_covariance - gain * told @ gain.T,
            MEASURED,
        )


_SAME = StepTime(1, 1, 1, 1, 1, 1, 1)
_SURE = StepTime(0, 0, 0, 0, 0, 0, 0)
_STRAY = (0.2, 0.15, 0.25, 0.3, 0.25, 0.2, 0.0)
"""How far kernels of other GPUs stray from the table, in logarithms: root mean squares over H100, L40S and B200, vLLM
and SGLang, models of 8, 11 and 70 billion parameters are 0.21, 0.12, 0.23, 0.30, 0.24 and 0.18, by `kernel_tables`."""


def bytes_per_number(kind: str | None) -> float | None:
    """How large a weight or a cached number is in a data type; None for a type that needs a checkpoint of its own."""
    if kind is None or kind in _FULL:
        return FULL_BYTES
    if kind == "bitsandbytes" or kind.startswith(_EIGHT_BITS):
        return 1.0
    return 0.5 if kind.startswith(_FOUR_BITS) else None


def ratios(before: DataTypes, after: DataTypes, *, native: bool = True, own: bool = True) -> Ratios:
    """What the change does to the constants, and how far that may be off.

    `native` tells whether the GPU multiplies 8-bit floats, `own` whether it is the one that the table's kernels were
    timed on. 8-bit weights have a row on GPUs that multiply them; elsewhere, and for 4 bits, the range of known rows is
    all that is known. A ridge moves as the memory term over the cost of a token does.
    """
    ratio, log_sd = _SAME, _SURE
    if after.weight_bytes != before.weight_bytes:
        base, token, err = _weights(after.weight_bytes, before.weight_bytes, native=native)
        ratio = replace(ratio, base_s=base, per_token_s=token, ridge_tokens=base / token)
        log_sd = replace(log_sd, base_s=err / 2, per_token_s=err, ridge_tokens=err)
    if after.kv_bytes != before.kv_bytes:
        sequence, context, pair = 1.15, 0.76, 1.22
        if after.kv_bytes > before.kv_bytes:
            sequence, context, pair = 1 / sequence, 1 / context, 1 / pair
        known = {before.kv_bytes, after.kv_bytes} == {1.0, FULL_BYTES}
        err = 0.1 if known else 0.3
        ratio = replace(ratio, per_sequence_s=sequence, per_context_token_s=context, per_pair_s=pair)
        log_sd = replace(log_sd, per_sequence_s=err, per_context_token_s=err, per_pair_s=err)
    if not own:
        log_sd = StepTime(*(max(err, far) if err else 0.0 for err, far in zip(astuple(log_sd), _STRAY, strict=True)))
    return Ratios.independent(ratio, log_sd)


def _weights(after: float, before: float, *, native: bool) -> tuple[float, float, float]:
    """Ratios of base and cost per token, and how far they may be off."""
    if after > before:
        base, token, err = _weights(before, after, native=native)
        return 1 / base, 1 / token, err
    if after >= 1:
        return (0.74, 0.61, 0.15) if native else (0.74, 1.0, 0.25)
    return 0.6, 1.0, 0.35
