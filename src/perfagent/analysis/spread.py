"""How far values lie from what is usual, whatever a few of them do."""

from collections.abc import Iterable
from statistics import median

_MAD_TO_SD = 1.4826
"""Median absolute deviation → standard deviation of a normal distribution."""


def robust_sd(deviations: Iterable[float]) -> float:
    """Standard deviation as most of the deviations tell it; raises `StatisticsError` without any."""
    return _MAD_TO_SD * median(map(abs, deviations))
