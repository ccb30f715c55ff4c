"""What was learned of a step time, as it is kept: plain numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Learned:
    """Constants of a step time and how their logarithms vary around them, row by row in the same order."""

    constants: tuple[float, ...]
    log_covariance: tuple[tuple[float, ...], ...]
    at_s: float
    """Unix seconds of the newest window in it."""
    windows: int
    """How many windows it has grown over."""
