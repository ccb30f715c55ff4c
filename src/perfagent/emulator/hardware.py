"""GPUs that an emulated server can have: what the twin knows of them, and how much memory they have.

Memory by NVIDIA's data sheets (the ones named in `twin/hardware.py`); the sheets' gigabytes of HBM and GDDR are 2^30
bytes, as the driver reports them, within 2 %.
"""

from dataclasses import dataclass

from perfagent.domain.errors import InvalidInput
from perfagent.twin.hardware import GPUS, Hardware

GIB = 2.0**30

_MEMORY_GIB = {
    "b200": 180,
    "h200": 141,
    "h100": 80,
    "h100-nvl": 94,
    "h100-pcie": 80,
    "a100-80": 80,
    "a100-80-pcie": 80,
    "a100-40": 40,
    "l40s": 48,
    "l4": 24,
    "a10": 24,
    "t4": 16,
}
_WITHOUT_FP8 = frozenset({"a100-80", "a100-80-pcie", "a100-40", "a10", "t4"})


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; `fp8` tells whether it multiplies 8-bit floats natively (Ada, Hopper and later)."""

    name: str
    memory_bytes: float
    hardware: Hardware
    fp8: bool


def gpu(name: str) -> Gpu:
    """A GPU by its short name, such as `h100`; raises `InvalidInput` for one that we have no data sheet of."""
    if name not in _MEMORY_GIB:
        raise InvalidInput(f"unknown GPU {name!r}; known are {', '.join(_MEMORY_GIB)}")
    return Gpu(name, _MEMORY_GIB[name] * GIB, GPUS[name], name not in _WITHOUT_FP8)
