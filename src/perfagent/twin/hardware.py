"""What step time to expect before anything was measured: data sheet and model shape.

Dense bf16 peaks and memory bandwidths from NVIDIA's data sheets, named as there: Blackwell (HGX B200 per GPU; the
8 TB/s often quoted are the GB200's), H200 SXM, H100 (SXM, PCIe, NVL), A100 (80 GB SXM and PCIe, 40 GB), L40S, L4, A10,
and T4 (fp16; it has no bf16). Where a sheet prints only the peak with sparsity (H100, H200, L4), half of it stands
here. Real kernels reach about 0.8 of the bandwidth and 0.5–0.6 of the peak.
"""

from dataclasses import dataclass

import numpy as np

from perfagent.domain.machine import ModelShape
from perfagent.twin.belief import Belief
from perfagent.twin.step_time import StepTime


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one replica computes on; for several GPUs with tensor parallelism, their sum."""

    bandwidth_bytes_per_s: float
    peak_flop_per_s: float


FIXED_S = 1e-3
"""Of a step beside reading the weights. Source: the study that the twin is built on."""
LAUNCHES_PER_LAYER, LAUNCH_S = 10, 5e-6
"""Kernels launched one by one where no captured graph is replayed; CUDA needs some microseconds for each."""

GPUS = {
    "b200": Hardware(7.7e12, 2250e12),
    "h200": Hardware(4.8e12, 989e12),
    "h100": Hardware(3.35e12, 989e12),
    "h100-nvl": Hardware(3.9e12, 835e12),
    "h100-pcie": Hardware(2.0e12, 756e12),
    "a100-80": Hardware(2.039e12, 312e12),
    "a100-80-pcie": Hardware(1.935e12, 312e12),
    "a100-40": Hardware(1.555e12, 312e12),
    "l40s": Hardware(0.864e12, 362e12),
    "l4": Hardware(0.300e12, 121e12),
    "a10": Hardware(0.600e12, 125e12),
    "t4": Hardware(0.320e12, 65e12),
}


PROCESSOR = Hardware(20e9, 0.5e12)
"""A few processor cores, without a data sheet: within a factor of several."""


def expected(shape: ModelShape, hardware: Hardware) -> Belief:
    """The roofline, with how far real engines stray from it.

    A step with a prompt in it launches its kernels one by one; other work may hide that, so it is known to a factor.
    The pair term is arithmetic in bf16 whatever the weights' type; the peak of an 8-bit type is twice that of bf16.
    """
    bandwidth, peak = hardware.bandwidth_bytes_per_s, hardware.peak_flop_per_s
    read_s = shape.params * shape.weight_bytes / (0.8 * bandwidth)
    per_token_s = 2 * shape.params / (0.6 * peak * (2 if shape.weight_bytes <= 1 else 1))
    return Belief.independent(
        StepTime(
            base_s=read_s + FIXED_S,
            per_token_s=per_token_s,
            ridge_tokens=read_s / per_token_s,
            per_sequence_s=15e-6,
            per_context_token_s=shape.kv_token_bytes / (0.8 * bandwidth),
            per_pair_s=4 * shape.heads_width * shape.layers / (0.5 * peak),
            prompt_step_s=LAUNCHES_PER_LAYER * LAUNCH_S * shape.layers,
        ),
        StepTime(
            base_s=0.2,
            per_token_s=0.25,
            ridge_tokens=0.4,
            per_sequence_s=0.7,
            per_context_token_s=0.4,
            per_pair_s=0.5,
            prompt_step_s=1.0,
        ),
    )


def prior(shape: ModelShape | None, hardware: Hardware | None) -> Belief:
    """What to expect with what is known; for the rest an 8B model on an A100, off by any factor up to about fifty.

    The errors hang together: a larger model is slower in everything, less bandwidth slows base and context, a lower
    peak slows tokens and pairs. So a window that pins one of them already says something about its kin.
    """
    centre = expected(shape or _SOME_SHAPE, hardware or GPUS["a100-80"])
    if hardware is PROCESSOR:
        centre = centre.faded(GUESSED)
    size = [1.0, 1.0, 0.0, 0.3, 0.6, 0.6, 0.3] if shape is None else _NONE
    bandwidth, peak = ([-1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 0.0], [0.0, -1.0, 1.0, 0.0, 0.0, -1.0, 0.0])
    if hardware is not None:
        bandwidth = peak = _NONE
    causes = 1.5 * np.column_stack([size, bandwidth, peak])
    return Belief(centre.step_time, causes @ causes.T + centre.log_covariance)


GUESSED = 9.0
"""Variances of what stands on no data sheet: three times the standard deviation."""
_SOME_SHAPE = ModelShape(params=8e9, layers=32, kv_heads=8, head_dim=128, width=4096)
_NONE = [0.0] * 7
