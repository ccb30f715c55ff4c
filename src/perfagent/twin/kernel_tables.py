"""Ratios between data types from kernels timed on this GPU with this engine, where `aiconfigurator-core` is installed.

It ships such timings (https://github.com/ai-dynamo/aiconfigurator) and reads them offline. Only ratios are taken, of
each constant by itself: of matrix products in a step that decodes and in long prompts, of attention as contexts grow.
What it has no row of keeps the ratio that is known without it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from perfagent.domain.machine import ModelShape
from perfagent.twin.data_types import QUANTISED_SHARE, DataTypes, Ratios, ratios
from perfagent.twin.hardware import FIXED_S
from perfagent.twin.step_time import StepTime

SYSTEMS = {"b200": "b200_sxm", "h200": "h200_sxm", "h100": "h100_sxm", "l40s": "l40s"}
"""GPUs of ours that it has 8-bit rows of, by its names."""
NAMES = {2.0: "bfloat16", 1.0: "fp8"}
"""Data types by their bytes; 4 bits need a checkpoint of their own, and have no rows here."""
SOURCE = "what this change of data types does to the step time is told by kernels timed on {gpu} with {engine}"
FEW, SOME, MANY = 8, 1024, 4096
"""Tokens of a step that only decodes; and the ends of the stretch over which the cost of one more is told."""
SEQUENCES, SHORT = 32, 512
"""As many decode together where contexts grow; a context so short that the cost per sequence is what there is."""


def better(
    known: Ratios, engine: str, gpu: str | None, shape: ModelShape, before: DataTypes, after: DataTypes
) -> Ratios:
    """The known ratios, and in their place those that this GPU's kernels showed, as sure as the table of its own."""
    kernels = _kernels(engine, SYSTEMS[gpu], shape) if gpu in SYSTEMS else None
    if kernels is None:
        return known
    ratio, sds, sure = known.ratio, dict(known.log_sd), ratios(before, after).log_sd
    products = kernels.change(kernels.products, before.weight_bytes, after.weight_bytes)
    if products is not None:
        base, token = products
        ratio = replace(ratio, base_s=base, per_token_s=token, ridge_tokens=base / token)
        sds |= {name: sure[name] for name in ("base_s", "per_token_s", "ridge_tokens")}
    attention = kernels.change(kernels.attention, before.kv_bytes, after.kv_bytes)
    if attention is not None:
        sequence, context, pair = attention
        ratio = replace(ratio, per_sequence_s=sequence, per_context_token_s=context, per_pair_s=pair)
        sds |= {name: sure[name] for name in ("per_sequence_s", "per_context_token_s", "per_pair_s")}
    if ratio == known.ratio:
        return known
    here = Ratios.independent(ratio, StepTime(**sds))
    return replace(here, source=SOURCE.format(gpu=gpu, engine=engine))


@dataclass(frozen=True, slots=True)
class _Kernels:
    """Timings of one GPU and engine, for the layers of one model; in milliseconds."""

    handle: Any
    shape: ModelShape

    def change(
        self, timings: Callable[[str], tuple[float, ...]], before: float, after: float
    ) -> tuple[float, ...] | None:
        """Timings after / before; None where nothing changes, or there is no row."""
        if before == after or not {before, after} <= NAMES.keys():
            return None
        try:
            pairs = zip(timings(NAMES[after]), timings(NAMES[before]), strict=True)
            return tuple(then / now for then, now in pairs)
        except RuntimeError:  # so the database says that it has none
            return None

    def products(self, weights: str) -> tuple[float, ...]:
        """A step's base, and what one more token costs."""
        few, some, many = (self._products(tokens, weights) for tokens in (FEW, SOME, MANY))
        return few + 1000 * FIXED_S, many - some

    def attention(self, cached: str) -> tuple[float, ...]:
        """What a sequence costs, one more token of context, and what a prompt's tokens cost each other."""
        from aiconfigurator_core.sdk.common import KVCacheQuantMode
        from aiconfigurator_core.sdk.operations import GenerationAttention

        of = self.shape
        decode = GenerationAttention(
            "decode", of.layers, self._heads, of.kv_heads, KVCacheQuantMode[cached], head_size=of.head_dim
        )
        short = self._timed(decode, FEW, SHORT, context=False)
        some, many = (self._timed(decode, SEQUENCES, tokens, context=False) for tokens in (SOME, MANY))
        return short, many - some, self._prompt(MANY, cached) - self._prompt(SOME, cached)

    @property
    def _heads(self) -> int:
        return max(1, round(self.shape.heads_width / self.shape.head_dim))

    def _products(self, tokens: int, weights: str) -> float:
        """All of the layers' matrices; the MLP's width is what the attention leaves of the parameters."""
        from aiconfigurator_core.sdk.common import GEMMQuantMode
        from aiconfigurator_core.sdk.operations import GEMM

        of, width = self.shape, self._heads * self.shape.head_dim
        keys = of.kv_heads * of.head_dim
        inner = (QUANTISED_SHARE * of.params / of.layers - 2 * width * (width + keys)) / (3 * width)
        sizes = ((width + 2 * keys, width), (width, width), (2 * round(inner), width), (width, round(inner)))
        products = [GEMM(str(n), of.layers, *size, GEMMQuantMode[weights]) for n, size in enumerate(sizes)]
        return sum(self._timed(one, 1, tokens, context=True) for one in products)

    def _prompt(self, tokens: int, cached: str) -> float:
        """A prompt's attention, computed in 16 bits or in the cache's type as the engine has kernels for."""
        from aiconfigurator_core.sdk.common import FMHAQuantMode, KVCacheQuantMode
        from aiconfigurator_core.sdk.operations import ContextAttention

        of, sizes = self.shape, (self.shape.layers, self._heads, self.shape.kv_heads)
        full, own = (
            ContextAttention("prompt", *sizes, KVCacheQuantMode[cached], FMHAQuantMode[type_], head_size=of.head_dim)
            for type_ in ("bfloat16", cached)
        )
        try:
            return self._timed(full, 1, tokens, context=True)
        except RuntimeError:
            return self._timed(own, 1, tokens, context=True)

    def _timed(self, operation: Any, sequences: int, tokens: int, *, context: bool) -> float:
        from aiconfigurator_core.sdk.engine import build_ops_json

        ((_, milliseconds, _, _),) = self.handle.evaluate_ops_json(
            build_ops_json([operation]), is_context=context, batch_size=sequences, s=tokens
        )
        return float(milliseconds)


@cache
def _kernels(engine: str, system: str, shape: ModelShape) -> _Kernels | None:
    """Timings by an engine's newest release in the database; None where it is not installed, or lacks the engine."""
    try:
        from aiconfigurator_core.sdk.engine import EngineHandle
        from aiconfigurator_core.sdk.perf_database import get_database, get_latest_database_version
    except ImportError:
        return None
    version = get_latest_database_version(system, engine)
    if version is None:
        return None
    return _Kernels(EngineHandle.for_database(get_database(system, engine, version)), shape)
