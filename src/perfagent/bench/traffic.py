"""Clients as a forecast does not picture them: two kinds of requests mixed, and arrivals that come in bursts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Self

import numpy as np

from perfagent.bench.scenario import pick
from perfagent.twin import Lengths, Request, SharedPrefixes

UNLIKE = (4.0, 10.0)
"""How many times as long the longer kind is, where there are two."""
EVENNESS = (0.25, 0.5, 1.0)
"""Shapes of gamma-distributed gaps between arrivals: variation coefficients of 2, 1.4 and 1, the last being Poisson.
Source: BurstGPT (Wang et al., 2024) finds gamma-distributed gaps, burstier than Poisson, in a production trace."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Lengths of one kind, or of two."""

    common: Lengths
    rare: Lengths
    rare_share: float

    @classmethod
    def draw(cls, rng: np.random.Generator, means: tuple[int, ...], longest: int) -> Self:
        """Any, whose common kind has one of these means."""
        common = Lengths(pick(rng, means), pick(rng, (0.0, 0.3, 0.6, 1.0)), longest)
        unlike = float(rng.uniform(*UNLIKE))
        rare_share = pick(rng, (0.0, 0.05, 0.2, 0.4))
        return cls(common, replace(common, mean=min(common.mean * unlike, longest / 2)), rare_share)

    @property
    def mean(self) -> float:
        """Tokens."""
        return self.rare_share * self.rare.mean + (1 - self.rare_share) * self.common.mean

    def tokens(self, rng: np.random.Generator) -> int:
        """Of one request."""
        return (self.rare if rng.random() < self.rare_share else self.common).draw(rng)

    def longer(self, factor: float) -> Self:
        """Every request so many times as long."""
        return replace(
            self,
            common=replace(self.common, mean=factor * self.common.mean),
            rare=replace(self.rare, mean=factor * self.rare.mean),
        )


@dataclass(frozen=True, slots=True)
class Traffic:
    """What comes to one server."""

    rate_per_s: float
    evenness: float
    clients: int | None
    """So many that wait for their answer and think before they ask again, in place of a rate."""
    think_s: float
    prompt: Mixture
    output: Mixture
    prefixes: SharedPrefixes | None

    def grown(self, requests: float = 1.0, prompt: float = 1.0, output: float = 1.0) -> Self:
        """With so many times the requests, or so many times as long ones."""
        return replace(
            self,
            rate_per_s=self.rate_per_s * requests,
            clients=None if self.clients is None else max(1, round(self.clients * requests)),
            prompt=self.prompt.longer(prompt),
            output=self.output.longer(output),
        )

    def arrivals(self, rng: np.random.Generator, longest: int) -> Iterator[Request]:
        """Of clients that come when they come, in order and without end."""
        times, made = rng.spawn(2)
        now_s, numbers = 0.0, count()
        while True:
            now_s += float(times.gamma(self.evenness, 1 / (self.evenness * self.rate_per_s)))
            yield self.request(made, f"r{next(numbers)}", now_s, longest)

    def request(self, rng: np.random.Generator, name: str, at_s: float, longest: int) -> Request:
        """Any request, with at most `longest` tokens in all, as clients ask for no more than a server takes."""
        prefix, shared = None, 0
        if self.prefixes is not None and rng.random() < self.prefixes.share:
            prefix, shared = f"p{rng.integers(self.prefixes.pool)}", self.prefixes.tokens
        prompt = min(shared + self.prompt.tokens(rng), longest - 1)
        return Request(name, at_s, prompt, min(self.output.tokens(rng), longest - prompt), prefix, min(shared, prompt))
