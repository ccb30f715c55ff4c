"""The step time that explains a server's own counters.

While an engine is never idle, the seconds between two scrapes are the sum of its step times: a row of accounting,
linear in all constants but the ridge. The fit is a maximum a posteriori estimate in logarithms, with a robust loss
against intervals in which something else went on.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from perfagent.twin.belief import PARAMETERS, Belief, from_log
from perfagent.twin.interval import Interval
from perfagent.twin.step_time import CORNER_TOKENS

MODEL_ERROR = 0.02  # of an interval's seconds; what the terms leave out


@dataclass(frozen=True, slots=True)
class Fit:
    """What the intervals say.

    `residual_ratio` is the median relative error of an interval's seconds; a parameter is pinned when the data at
    least halved its uncertainty, and is the prior's otherwise.
    """

    belief: Belief
    residual_ratio: float
    pinned: frozenset[str]
    intervals: int


def fit(intervals: Iterable[Interval], prior: Belief) -> Fit | None:
    """The posterior after these intervals; None when the engine may have been idle in all of them."""
    busy = [interval for interval in intervals if interval.busy]
    if not busy:
        return None
    rows = _Rows(busy)
    whiten = np.linalg.inv(np.linalg.cholesky(prior.log_covariance))

    def residuals(log_values: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
        errors = rows.errors(log_values) / np.hypot(noise, rows.cut)
        timed = rows.timed_errors(log_values) / np.hypot(noise, rows.timed_cut)
        return np.concatenate([_robust(errors), _robust(timed), whiten @ (log_values - prior.log_mean)])

    first = least_squares(residuals, prior.log_mean, args=(MODEL_ERROR,), x_scale="jac")
    spread = 1.48 * float(np.median(np.abs(rows.errors(first.x))))
    best = least_squares(residuals, first.x, args=(max(MODEL_ERROR, spread),), x_scale="jac")
    jacobian = np.asarray(best.jac, dtype=np.float64)
    covariance = np.linalg.inv(jacobian.T @ jacobian).astype(np.float64)
    variances = zip(PARAMETERS, np.diag(prior.log_covariance), np.diag(covariance), strict=True)
    return Fit(
        belief=Belief(from_log(best.x), covariance),
        residual_ratio=float(np.median(np.abs(rows.errors(best.x)))),
        pinned=frozenset(name for name, before, after in variances if after <= before / 4),
        intervals=len(busy),
    )


def _robust(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Large errors count by their size, not its square."""
    robust: NDArray[np.float64] = np.copysign(np.sqrt(2 * (np.sqrt(1 + errors**2) - 1)), errors)
    return robust


class _Rows:
    """The intervals as columns.

    Steps are of two kinds, with prompt tokens and without, each taken at its mean number of tokens.
    """

    def __init__(self, intervals: list[Interval]) -> None:
        def column(name: str) -> NDArray[np.float64]:
            return np.array([getattr(interval, name) for interval in intervals], dtype=float)

        self._seconds, self._steps = column("busy_s"), column("steps")
        self.cut = 1 / self._steps
        """Relative error because scrapes fall into steps: up to one step is booked on the wrong side."""
        self._decode, self._context, self._pairs = column("decode_tokens"), column("context_tokens"), column("pairs")
        self._prefill_steps = np.minimum(column("prefill_steps"), self._steps)
        self._plain_steps = self._steps - self._prefill_steps
        decode_steps = np.where(column("mixed"), self._steps, self._plain_steps)
        self._plain_tokens = self._decode / np.maximum(decode_steps, 1)
        self._prefill_tokens = column("prompt_tokens") / np.maximum(self._prefill_steps, 1)
        self._prefill_tokens += self._plain_tokens * column("mixed")

        self._timed = column("timed_prompts") > 0
        timed_prompts = column("timed_prompts")[self._timed]
        self._timed_s = column("timed_s")[self._timed] / timed_prompts
        self.timed_cut = 1 / np.sqrt(timed_prompts)
        """Relative error because the prompts timed need not be those whose tokens were counted."""
        self._decode_steps, self._mixed = decode_steps, column("mixed")
        self._prefix = column("prefix_tokens")

    def errors(self, log_values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Relative error of each interval's seconds."""
        base, token, ridge, sequence, context, pair, prompt_step = np.exp(log_values)
        above_ridge = self._plain_steps * _softplus(self._plain_tokens - ridge)
        above_ridge += self._prefill_steps * _softplus(self._prefill_tokens - ridge)
        seconds = base * self._steps + token * above_ridge
        seconds += sequence * self._decode + context * self._context + pair * self._pairs
        seconds += prompt_step * self._prefill_steps
        errors: NDArray[np.float64] = seconds / self._seconds - 1
        return errors

    def timed_errors(self, log_values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Relative error of the mean step that computed a prompt, where the engine times it."""
        base, token, ridge, sequence, context, pair, prompt_step = np.exp(log_values)
        seconds = base + prompt_step + token * _softplus(self._prefill_tokens - ridge)
        beside = self._mixed / np.maximum(self._decode_steps, 1)
        seconds += beside * (sequence * self._decode + context * (self._context - self._prefix))
        seconds += (context * self._prefix + pair * self._pairs) / np.maximum(self._prefill_steps, 1)
        errors: NDArray[np.float64] = seconds[self._timed] / self._timed_s - 1
        return errors


def _softplus(tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.logaddexp(0, tokens / CORNER_TOKENS) * CORNER_TOKENS
