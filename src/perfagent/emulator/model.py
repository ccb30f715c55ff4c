"""Models that an emulated server can serve, and what quantization does to their size and speed.

Shapes from the models' `config.json` on their cards. The ratios between data types come from a public kernel database
for H200 and a few fits; where it has no row, the middle of a wide range stands here.
"""

from dataclasses import dataclass, replace

from perfagent.domain.errors import InvalidInput
from perfagent.emulator.hardware import Gpu
from perfagent.twin import StepTime
from perfagent.twin.hardware import Hardware, ModelShape, expected


@dataclass(frozen=True, slots=True)
class Model:
    """A model as published, in 16 bits, and the longest request it allows."""

    name: str
    shape: ModelShape
    max_len: int


_MODELS = {
    # https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct
    "llama-3.1-8b": Model(
        "emulated/Llama-3.1-8B-Instruct",
        ModelShape(params=8.03e9, layers=32, width=4096, kv_heads=8, head_dim=128),
        131_072,
    ),
    # https://huggingface.co/Qwen/Qwen2.5-14B-Instruct
    "qwen2.5-14b": Model(
        "emulated/Qwen2.5-14B-Instruct",
        ModelShape(params=14.8e9, layers=48, width=5120, kv_heads=8, head_dim=128),
        32_768,
    ),
}

_EIGHT_BITS = ("fp8", "mxfp8", "w8a8", "int8", "eetq")
_FOUR_BITS = ("nvfp4", "mxfp4", "fp4", "int4", "bitsandbytes-")
_FULL = frozenset({"auto", "bf16", "bfloat16", "float16", "half"})


def model(name: str) -> Model:
    """A model by its short name, such as `llama-3.1-8b`; raises `InvalidInput` for one that we have no card of."""
    if name not in _MODELS:
        raise InvalidInput(f"unknown model {name!r}; known are {', '.join(_MODELS)}")
    return _MODELS[name]


def bytes_per_number(kind: str | None) -> float | None:
    """How large a weight or a cached number is in a data type; None for a type that needs a checkpoint of its own."""
    if kind is None or kind in _FULL:
        return 2.0
    if kind == "bitsandbytes" or kind.startswith(_EIGHT_BITS):
        return 1.0
    return 0.5 if kind.startswith(_FOUR_BITS) else None


def kv_bytes_per_token(shape: ModelShape, bytes_per_number: float) -> float:
    """Keys and values of all layers for one token."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * bytes_per_number


def step_time(shape: ModelShape, gpu: Gpu, gpus: int, weight_bytes: float, kv_bytes: float) -> StepTime:
    """How long a step takes on this hardware with these data types.

    8-bit weights save arithmetic only where the GPU multiplies them natively; the ratios are those of §7 of the study
    that the twin is built on, and 4 bits are taken to save as much again per byte not read.
    """
    hardware = Hardware(gpu.hardware.bandwidth_bytes_per_s * gpus, gpu.hardware.peak_flop_per_s * gpus)
    time = expected(replace(shape, weight_bytes=2.0, kv_bytes=2.0), hardware).step_time
    if weight_bytes < 2:
        time = replace(
            time,
            base_s=time.base_s * (0.74 if weight_bytes >= 1 else 0.6),
            per_token_s=time.per_token_s * (0.61 if gpu.fp8 and weight_bytes >= 1 else 1.0),
        )
    if kv_bytes < 2:
        time = replace(
            time,
            per_sequence_s=time.per_sequence_s * 1.15,
            per_context_token_s=time.per_context_token_s * 0.76,
            per_pair_s=time.per_pair_s * 1.22,
        )
    return time
