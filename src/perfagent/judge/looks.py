"""When the judge may look, and how sure it must be each time so that looking often does not make it wrong often.

Group-sequential: the number of looks is planned, and every look has the same boundary on the standard normal scale
(Pocock's). How likely the boundary is ever crossed by chance is integrated step by step (Armitage, McPherson and Rowe,
1969), for looks equally far apart in information. Looks here are more alike than that, because what replicas differ
by for good does not average out, so the true chance is smaller (Slepian's inequality).
"""

from functools import lru_cache
from math import sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

_STEPS = 400
"""Points of the integration; more change the boundary by less than a thousandth."""
_FARTHEST = 8.0
"""Standard deviations beyond which nothing is left."""


@lru_cache(maxsize=256)
def boundary(alpha: float, looks: int) -> float:
    """The z that is crossed by chance with probability `alpha` (one-sided) at any of so many looks."""
    return float(brentq(lambda z: spent(z, looks) - alpha, 0.0, _FARTHEST))


@lru_cache(maxsize=4096)
def spent(z: float, looks: int) -> float:
    """The chance of a crossing at one of the first `looks` looks: of alpha, what they have used up."""
    grid = np.linspace(-_FARTHEST, z, _STEPS)
    density = np.exp(-(grid**2) / 2) / sqrt(2 * np.pi)
    for look in range(2, looks + 1):
        wider = np.linspace(-_FARTHEST * sqrt(look), z * sqrt(look), _STEPS)
        steps = np.exp(-((wider[:, None] - grid[None, :]) ** 2) / 2) / sqrt(2 * np.pi)
        density, grid = np.asarray(np.trapezoid(steps * density, grid, axis=1)), wider
    return float(1 - np.trapezoid(density, grid)) if looks > 1 else float(ndtr(-z))


def holm(strengths: list[float], bounds: list[float]) -> int:
    """How many of the claims hold together (Holm): the strongest must pass the first bound, the next the second, ….

    `bounds` fall: the first is for all claims sharing alpha, the last for one that has it alone.
    """
    ordered = sorted(strengths, reverse=True)
    return next((k for k, (z, bound) in enumerate(zip(ordered, bounds, strict=True)) if z < bound), len(ordered))
