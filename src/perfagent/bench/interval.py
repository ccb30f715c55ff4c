"""How sure a count makes us: 95 % intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import gammaincinv

Z = 1.959964
"""The standard normal's 97.5 % point."""
RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its 95 % interval; all None where there was nothing to measure."""

    value: float | None
    low: float | None
    high: float | None


NOTHING = Measured(None, None, None)


def share(hits: int, of: int) -> Measured:
    """A share with Wilson's score interval, which stays sensible at 0 and 1."""
    if not of:
        return NOTHING
    value, z2 = hits / of, Z * Z
    middle = (value + z2 / (2 * of)) / (1 + z2 / of)
    half = Z * sqrt(value * (1 - value) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return Measured(value, max(0.0, middle - half), min(1.0, middle + half))


def rate(events: int, exposure: float) -> Measured:
    """Events per unit of exposure with the exact Poisson interval."""
    if exposure <= 0:
        return NOTHING
    low = float(gammaincinv(events, 0.025)) if events else 0.0
    return Measured(events / exposure, low / exposure, float(gammaincinv(events + 1, 0.975)) / exposure)


def macro_f1(right: Sequence[str], said: Sequence[str]) -> Measured:
    """The mean of F1 over the labels that are right somewhere; the interval is of seeded resamples (bootstrap)."""
    if not right:
        return NOTHING
    labels = sorted({*right, *said})
    place = {label: index for index, label in enumerate(labels)}
    pairs = np.array([place[a] * len(labels) + place[b] for a, b in zip(right, said, strict=True)])
    drawn = np.random.default_rng(0).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    values = [_f1(pairs[rows], len(labels)) for rows in drawn]
    low, high = np.quantile(values, [0.025, 0.975])
    return Measured(_f1(pairs, len(labels)), float(low), float(high))


def _f1(pairs: np.ndarray, labels: int) -> float:
    table = np.bincount(pairs, minlength=labels * labels).reshape(labels, labels)
    hits, right, said = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    there = right > 0
    return float(np.mean(2 * hits[there] / (right + said)[there]))
