"""Requests as they arrive: a seeded, reproducible stream.

Arrival times, lengths and prefixes come from separate random streams, so two workloads that differ in one of them
share the others: differences between forecasts are then differences between configurations, not luck.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Request:
    """One call: what it brings and how much it will produce.

    The first `prefix_tokens` of the prompt are those of every request with the same `prefix_id`; the rest is unique.
    """

    id: str
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    prefix_id: str | None = None
    prefix_tokens: int = 0

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1 or self.output_tokens < 1:
            raise ValueError(f"request {self.id} needs at least one prompt and one output token")
        if not 0 <= self.prefix_tokens <= self.prompt_tokens:
            raise ValueError(f"request {self.id} has a prefix longer than its prompt")


@dataclass(frozen=True, slots=True)
class Lengths:
    """A lognormal number of tokens with exactly this mean; sigma is of the logarithm, 0 is constant."""

    mean: float
    sigma: float = 0.0
    longest: int | None = None

    def draw(self, rng: np.random.Generator) -> int:
        """At least 1, at most `longest`."""
        tokens = max(1, round(rng.lognormal(math.log(self.mean) - self.sigma**2 / 2, self.sigma)))
        return tokens if self.longest is None else min(tokens, self.longest)


@dataclass(frozen=True, slots=True)
class SharedPrefixes:
    """`share` of the requests have one of `pool` prefixes, `tokens` long, in front of their own prompt."""

    pool: int
    tokens: int
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Workload:
    """Poisson arrivals whose rate changes in steps.

    `rate_per_s` holds (from_s, requests per second) pairs, rising in time; before the first the rate is zero.
    """

    rate_per_s: tuple[tuple[float, float], ...]
    prompt: Lengths
    output: Lengths
    prefixes: SharedPrefixes | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.rate_per_s]
        if not starts or starts != sorted(set(starts)) or any(rate < 0 for _, rate in self.rate_per_s):
            raise ValueError("rates are not negative and their starts rise in time")

    def requests(self) -> Iterator[Request]:
        """In order of arrival, without end unless the last rate is zero; every call yields the same ones."""
        arrivals, prompts, outputs, choices = map(np.random.default_rng, np.random.SeedSequence(self.seed).spawn(4))
        for number, at_s in enumerate(self._arrivals(arrivals)):
            prompt, output = self.prompt.draw(prompts), self.output.draw(outputs)
            prefix = self._prefix(choices)
            shared = self.prefixes.tokens if self.prefixes and prefix is not None else 0
            yield Request(f"r{number}", at_s, shared + prompt, output, prefix, shared)

    def _arrivals(self, rng: np.random.Generator) -> Iterator[float]:
        """Unit-rate arrivals stretched by the rate, so a change of rate moves arrivals but draws nothing anew."""
        ends = [start for start, _ in self.rate_per_s[1:]] + [math.inf]
        due = float(rng.exponential())
        for (start, rate), end in zip(self.rate_per_s, ends, strict=True):
            now = start
            while rate > 0 and now + due / rate < end:
                now += due / rate
                yield now
                due = float(rng.exponential())
            due -= rate * (end - now) if rate > 0 else 0.0

    def _prefix(self, rng: np.random.Generator) -> str | None:
        if self.prefixes is None:
            return None
        shared, number = rng.random() < self.prefixes.share, int(rng.integers(self.prefixes.pool))
        return f"p{number}" if shared else None
