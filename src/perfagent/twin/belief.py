"""What is known about a step time: a centre and how the logarithms of its constants vary around it.

All constants are positive and are known to within factors, so a belief is Gaussian in their logarithms. A posterior is
a belief too: it is the prior of the next fit.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from perfagent.twin.step_time import StepTime

PARAMETERS = tuple(field.name for field in fields(StepTime))


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """`step_time` is the median; `log_covariance` has a row per parameter in the order of `PARAMETERS`."""

    step_time: StepTime
    log_covariance: NDArray[np.float64]

    @classmethod
    def independent(cls, step_time: StepTime, log_sd: StepTime) -> Self:
        """Parameters that err independently, each by its own standard deviation of the logarithm."""
        return cls(step_time, np.diag(np.square(np.array(astuple(log_sd)))))

    @property
    def log_mean(self) -> NDArray[np.float64]:
        """The centre in logarithms."""
        return np.log(np.array(astuple(self.step_time), dtype=np.float64), dtype=np.float64)

    @property
    def log_sd(self) -> dict[str, float]:
        """Relative uncertainty of each parameter, for small ones; 0.2 reads ±20 %."""
        return dict(zip(PARAMETERS, np.sqrt(np.diag(self.log_covariance)).tolist(), strict=True))

    def faded(self, factor: float) -> Self:
        """The same centre, less sure: for what was learned long ago."""
        return type(self)(self.step_time, self.log_covariance * factor)

    def draws(self, rng: np.random.Generator) -> Iterator[StepTime]:
        """Step times as likely as the belief says, without end."""
        root = np.linalg.cholesky(self.log_covariance)
        while True:
            yield from_log(self.log_mean + root @ rng.standard_normal(len(PARAMETERS)))


def from_log(values: NDArray[np.float64]) -> StepTime:
    """A step time from the logarithms of its constants."""
    return StepTime(*np.exp(values).tolist())
