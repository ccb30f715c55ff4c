"""Models that an emulated server can serve, and how long their steps take.

Shapes and longest requests from the models' `config.json` on their cards.
"""

from dataclasses import dataclass, replace

from perfagent.domain.errors import InvalidInput
from perfagent.domain.machine import ModelShape
from perfagent.twin import StepTime
from perfagent.twin.data_types import DataTypes, ratios
from perfagent.twin.gpus import Gpu
from perfagent.twin.hardware import Hardware, expected
from perfagent.twin.models import LLAMA_3_1_8B, QWEN_2_5_14B


@dataclass(frozen=True, slots=True)
class Model:
    """A model as published, in 16 bits, and the longest request it allows."""

    name: str
    shape: ModelShape
    max_len: int


_MODELS = {
    "llama-3.1-8b": Model("emulated/Llama-3.1-8B-Instruct", LLAMA_3_1_8B, 131_072),
    "qwen2.5-14b": Model("emulated/Qwen2.5-14B-Instruct", QWEN_2_5_14B, 32_768),
}


def model(name: str) -> Model:
    """A model by its short name, such as `llama-3.1-8b`; raises `InvalidInput` for one that we have no card of."""
    if name not in _MODELS:
        raise InvalidInput(f"unknown model {name!r}; known are {', '.join(_MODELS)}")
    return _MODELS[name]


def step_time(shape: ModelShape, gpu: Gpu, gpus: int, types: DataTypes) -> StepTime:
    """How long a step takes on this hardware with these data types."""
    hardware = Hardware(gpu.hardware.bandwidth_bytes_per_s * gpus, gpu.hardware.peak_flop_per_s * gpus)
    full = expected(replace(shape, weight_bytes=2.0, kv_bytes=2.0), hardware).step_time
    return full.times(ratios(DataTypes(), types, native=gpu.fp8).ratio)
