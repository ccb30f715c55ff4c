"""GPUs with their data sheets: what the twin knows of them, and how much memory they have.

Memory is the total that `nvidia-smi` shows, in MiB, error correction on as these GPUs are delivered: it takes a
sixteenth of GDDR6, so 24 GB on an L4's data sheet are 22.5 GiB to a server.
"""

from dataclasses import dataclass

from perfagent.domain.errors import InvalidInput
from perfagent.twin.hardware import GPUS, Hardware

GIB = 2.0**30
USABLE = 0.98
"""Share of a GPU's memory that a process can have; driver and context take the rest, and graph capture at 0.98 of it
is where vLLM is reported to die (vllm-project/vllm issue 57475)."""
OVERHEAD_BYTES = 1.0 * GIB
"""CUDA context, graphs and communication buffers of a small model."""
ACTIVATION_NUMBERS = 16
"""16-bit numbers per token and unit of model width that the largest step needs at its peak: queries, keys, values,
output and two MLP intermediates of about 3.5 widths, with what the allocator wastes."""

_MEMORY_MIB = {
    "b200": 183_359,
    "h200": 143_771,
    "h100": 81_559,
    "h100-nvl": 95_830,
    "h100-pcie": 81_559,
    "a100-80": 81_920,
    "a100-80-pcie": 81_920,
    "a100-40": 40_960,
    "l40s": 46_068,
    "l4": 23_034,
    "a10": 23_028,
    "t4": 15_360,
}
_WITHOUT_FP8 = frozenset({"a100-80", "a100-80-pcie", "a100-40", "a10", "t4"})


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; `fp8` tells whether it multiplies 8-bit floats natively (Ada, Hopper and later)."""

    name: str
    memory_bytes: float
    hardware: Hardware
    fp8: bool


NAMES = tuple(GPUS)
"""Of GPUs with a data sheet."""


def gpu(name: str) -> Gpu:
    """A GPU by its short name, such as `h100`; raises `InvalidInput` for one that we have no data sheet of."""
    if name not in GPUS:
        raise InvalidInput(f"unknown GPU {name!r}; known are {', '.join(GPUS)}")
    return Gpu(name, _MEMORY_MIB[name] * GIB / 1024, GPUS[name], name not in _WITHOUT_FP8)
