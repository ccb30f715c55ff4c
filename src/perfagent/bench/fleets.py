"""Fleets of equal replicas, minute by minute, drawn from a seed: what a judge has to tell a harmful change from.

Load swings are shared by all replicas, bursts are not, every replica is permanently a little different, and a restart
changes part of that. Log-normal throughout, as latencies under load are; a model, not field data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from perfagent.domain.metric import Metric

Array = NDArray[np.float64]

TTFT_S, ITL_S, TOKENS = 0.5, 0.03, 250.0
"""Means of an undisturbed replica: seconds to the first token, between two tokens, tokens of an answer."""
TTFT_SPREAD, ITL_SPREAD, LENGTH_SPREAD = 0.8, 0.3, 0.6
"""Standard deviation / mean of one request's figure; that of a log-normal with sigma 0.7 is 0.8."""
COMMON = 0.7
"""Share of a replica's luck that all its latencies have in common: a slower card is slower at everything."""


@dataclass(frozen=True, slots=True)
class Restless:
    """How restless a fleet is: standard deviations of the log, unless it says otherwise."""

    offset: float = 0.05
    """Between replicas, permanently."""
    redrawn: float = 0.16
    """Share of that variance which a restart draws anew."""
    swing: float = 0.2
    """Of the whole fleet, from minute to minute."""
    burst: float = 0.1
    """Of one replica, from minute to minute."""
    memory: float = 0.0
    """Correlation of a burst with the one a minute before."""
    drift: float = 0.0
    """How far a replica's offset wanders in an hour."""
    tails: float | None = None
    """Degrees of freedom of bursts (Student's t); None draws them from a normal distribution."""
    heavy: float = 1.0
    """How many times more single requests of one minute differ than they usually do."""
    requests_per_min: float = 120.0
    """Of one replica."""
    failing: float = 0.002
    """Share of the requests, whatever the configuration."""
    known_min: int = 360
    """Minutes of the past that the judge may look at."""


NOISES: Mapping[str, Restless] = {
    "offsets of 5 %": Restless(),
    "offsets of 10 %": Restless(offset=0.1),
    "a restart redraws all": Restless(redrawn=1.0),
    "no past known, 10 %": Restless(offset=0.1, known_min=0),
    "strong bursts": Restless(burst=0.25),
    "bursts that last": Restless(memory=0.8),
    "offsets that drift": Restless(drift=0.05),
    "heavy tails": Restless(tails=3.0, heavy=2.0),
    "few requests": Restless(requests_per_min=10.0),
}
"""The first is the one of the incumbents' published comparison; of the others the judge is not told."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What the change does: factors on latencies; 1 is nothing."""

    ttft: float = 1.0
    itl: float = 1.0


EFFECTS: Mapping[str, Effect] = {
    "none": Effect(),
    "TTFT +20 %": Effect(ttft=1.2),
    "ITL +20 %": Effect(itl=1.2),
    "both +50 %": Effect(1.5, 1.5),
}


class Fleet:
    """Replicas over time. Minutes before `start_min` are the past; replicas are changed after it."""

    def __init__(
        self, rng: np.random.Generator, replicas: int, noise: Restless, effect: Effect, *, minutes: int
    ) -> None:
        self.noise = noise
        self.start_min = noise.known_min
        self._rng, self._effect, self._minutes = rng, effect, noise.known_min + minutes
        shape = (self._minutes, replicas)
        self._offset = self._luck(lambda: noise.offset * rng.standard_normal(replicas))
        wander = noise.drift / sqrt(60)
        self.swing = noise.swing * rng.standard_normal(self._minutes)
        restless = self._luck(lambda: self._bursts(shape))
        wandering = self._luck(lambda: np.cumsum(wander * rng.standard_normal(shape), axis=0))
        self.levels = {
            name: self._offset[name] + restless[name] + wandering[name] + self.swing[:, None] for name in _LATENCIES
        }
        """TTFT and ITL by minute and replica: the log of how many times their usual size they are."""
        self.requests: Array = rng.poisson(noise.requests_per_min * np.exp(self.swing / 2)[:, None], shape).astype(
            float
        )
        self._failed: Array = rng.binomial(self.requests.astype(int), noise.failing).astype(float)
        self._own = rng.standard_normal((3, *shape)) * noise.heavy / np.sqrt(np.maximum(self.requests, 1.0))

    def change(self, replicas: Sequence[int], at_min: int) -> None:
        """Restart these replicas with the change."""
        self.restart(replicas, at_min)
        for name, factor in zip(_LATENCIES, (self._effect.ttft, self._effect.itl), strict=True):
            self.levels[name][at_min:, replicas] += np.log(factor)

    def restart(self, replicas: Sequence[int], at_min: int) -> None:
        """Draw part of what these replicas are for good anew."""
        kept, fresh = sqrt(1 - self.noise.redrawn), sqrt(self.noise.redrawn)
        redrawn = self._luck(lambda: self.noise.offset * self._rng.standard_normal(len(replicas)))
        for name in _LATENCIES:
            was = self._offset[name][replicas]
            now = kept * was + fresh * redrawn[name]
            self.levels[name][at_min:, replicas] += now - was
            self._offset[name][replicas] = now

    def minute(self, minute: int) -> tuple[Array, Array, Array]:
        """Of every replica the mean seconds to the first token, seconds between two tokens, and tokens of an answer."""
        here, everybody = slice(minute, minute + 1), list(range(self.requests.shape[1]))
        ttft = self._mean("ttft", TTFT_S, TTFT_SPREAD, 1, here, everybody)
        itl = self._mean("itl", ITL_S, ITL_SPREAD, 2, here, everybody)
        return ttft[0], itl[0], self._length(here, everybody)[0]

    def figures(self, metric: Metric, minutes: slice, replicas: Sequence[int]) -> tuple[Array, Array]:
        """(means, tokens per second or shares; the observations behind each) by minute and replica."""
        requests = self.requests[minutes, replicas]
        length = self._length(minutes, replicas)
        if metric is Metric.GENERATION_TOKENS:
            return requests * length / 60, requests * length
        if metric is Metric.FAILED:
            return self._failed[minutes, replicas] / np.maximum(requests, 1.0), requests
        ttft = self._mean("ttft", TTFT_S, TTFT_SPREAD, 1, minutes, replicas)
        itl = self._mean("itl", ITL_S, ITL_SPREAD, 2, minutes, replicas)
        if metric is Metric.TTFT:
            return ttft, requests
        return (itl, requests * length) if metric is Metric.ITL else (ttft + length * itl, requests)

    def _length(self, minutes: slice, replicas: Sequence[int]) -> Array:
        tokens: Array = TOKENS * np.exp(LENGTH_SPREAD * self._own[0][minutes, replicas])
        return tokens

    def _mean(self, name: str, usual: float, spread: float, row: int, minutes: slice, replicas: Sequence[int]) -> Array:
        log = self.levels[name][minutes, replicas] + spread * self._own[row][minutes, replicas]
        means: Array = usual * np.exp(log)
        return means

    def _luck(self, draw: Callable[[], Array]) -> dict[str, Array]:
        """The same kind of luck for each latency, part of it in common."""
        common = draw()
        return {name: sqrt(COMMON) * common + sqrt(1 - COMMON) * draw() for name in _LATENCIES}

    def _bursts(self, shape: tuple[int, int]) -> Array:
        noise = self.noise
        if noise.tails is None:
            fresh = self._rng.standard_normal(shape)
        else:
            fresh = self._rng.standard_t(noise.tails, shape) / sqrt(noise.tails / (noise.tails - 2))
        if noise.memory:
            for minute in range(1, shape[0]):
                fresh[minute] = noise.memory * fresh[minute - 1] + sqrt(1 - noise.memory**2) * fresh[minute]
        return noise.burst * fresh


_LATENCIES = ("ttft", "itl")
METRICS = (Metric.TTFT, Metric.ITL, Metric.E2E, Metric.GENERATION_TOKENS, Metric.FAILED)
"""What such a fleet shows."""
