"""A drawn fleet that runs: replicas start, change, crash, restart by themselves, show pages and answer. Emulated.

Latencies and their noise are those of `fleets.py`; what is added is what happens to processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from perfagent.bench.changes import MINUTE_S, Deed, Start
from perfagent.bench.fleets import Array, Fleet
from perfagent.bench.invariants import Changed
from perfagent.domain.errors import ActuatorFailed, Unreachable
from perfagent.domain.histogram import Histogram
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.domain.quality import Answer
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.emulator.answers import Errors, words
from perfagent.ports import Clock

SHOWN = frozenset({Metric.TTFT, Metric.ITL, Metric.E2E, Metric.GENERATION_TOKENS, Metric.FINISHED, Metric.FAILED})
"""What the pages carry."""

_OK, _FAILED, _TOKENS, _TTFT, _ITL, _E2E = range(6)
"""Columns of what a process has counted: requests, requests, tokens, and sums of seconds."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What happens to a fleet whatever is changed."""

    start_s: float = 60.0
    """From the start of a process until it serves."""
    own_restart_s: float = inf
    """How long a replica runs until it restarts by itself, on average."""
    lost_scrapes: float = 0.0
    """Share of pages that are not read."""


class Replicas:
    """An `Actuator`, a `Prober`, and what a scrape sees."""

    def __init__(
        self,
        rng: np.random.Generator,
        clock: Clock,
        drawn: Fleet,
        deed: Deed,
        circumstances: Circumstances,
        priors: Mapping[str, LaunchConfig],
    ) -> None:
        count = len(priors)
        self._rng, self._clock, self._drawn, self._deed, self._around = rng, clock, drawn, deed, circumstances
        self.began_s = clock.now()
        """The first minute of the drawn fleet."""
        self._targets = list(priors)
        self._place = {target: place for place, target in enumerate(self._targets)}
        self.priors = dict(priors)
        """How every replica was started at first."""
        self.configs = dict(priors)
        """How it is started now."""
        self.changes: list[Changed] = []
        self.changed_s = 0.0
        """Replica-seconds with anything but the configuration that was there at first."""
        self._changed: NDArray[np.bool_] = np.zeros(count, dtype=bool)
        self._up_at_s: Array = np.full(count, self.began_s)
        self._dies_at_s: Array = self.began_s + self._lives(count)
        self._counted: Array = np.zeros((count, 6))
        self._neighbour_s: tuple[float, float] = (inf, inf)

    async def read(self, target: Target) -> LaunchConfig:
        """How the replica is started."""
        return self.configs[target.id]

    async def apply(self, target: Target, config: LaunchConfig) -> None:
        """Restart the replica with this configuration, unless it runs with it."""
        if self.configs[target.id] == config:
            return
        place, now_s = self._place[target.id], self._clock.now()
        self.configs[target.id] = config
        self._changed[place] = config != self.priors[target.id]
        self.changes.append((now_s, target.id, bool(self._changed[place])))
        if self._neighbour_s[0] == inf:
            self._neighbour_s = now_s, now_s + self._deed.neighbour_s
        self._start(place)

    async def ready(self, target: Target) -> bool:
        """Whether it serves. Raises `ActuatorFailed` where its process has ended for good."""
        place, now_s = self._place[target.id], self._clock.now()
        exits = self._changed[place] and self._deed.start is Start.EXITS
        if exits and now_s >= self._dies_at_s[place]:
            raise ActuatorFailed("exited with status 1")
        return bool(now_s >= self._up_at_s[place])

    async def ask(self, target: Target, _engine: str, prompt: str, tokens: int) -> Answer:
        """The answer to the prompt, which is the same on all replicas that are set alike.

        Raises `Unreachable` where the replica does not serve.
        """
        place = self._place[target.id]
        if self._clock.now() < self._up_at_s[place]:
            raise Unreachable(f"{target.url} refused the connection")
        said = words(prompt, tokens, self._deed.answers if self._changed[place] else Errors())
        return Answer(tuple(word.text for word in said), tuple(word.logprob for word in said))

    def pass_time(self, seconds: float) -> None:
        """Let everybody serve for the `seconds` up to now, all of one minute, and whoever's time has come restart."""
        now_s, drawn = self._clock.now(), self._drawn
        minute = int((now_s - seconds - self.began_s) // MINUTE_S)
        serving = self._up_at_s <= now_s - seconds
        rate = drawn.noise.requests_per_min * np.exp(drawn.swing[minute] / 2)
        requests = self._rng.poisson(rate * seconds / MINUTE_S, len(serving)) * serving
        failed = self._rng.binomial(requests, drawn.noise.failing + self._deed.failing * self._changed)
        good = requests - failed
        ttft, itl, length = drawn.minute(minute)
        slower = self._slower(good, now_s)
        factors = np.where(self._changed, [[self._deed.ttft], [self._deed.itl]], 1.0)
        ttft, itl = ttft * slower * factors[0], itl * slower * factors[1]
        each = (np.ones(len(good)), np.zeros(len(good)), length, ttft, length * itl, ttft + length * itl)
        self._counted += good[:, None] * np.stack(each, axis=1)
        self._counted[:, _FAILED] += failed
        self.changed_s += seconds * float(self._changed.sum())
        for place in np.flatnonzero(serving & (self._dies_at_s <= now_s)):
            self._start(int(place))

    def scrape(self) -> list[Snapshot]:
        """The page of every replica that serves and whose scrape comes through."""
        now_s = self._clock.now()
        seen = (self._up_at_s <= now_s) & (self._rng.random(len(self._targets)) >= self._around.lost_scrapes)
        return [self._page(int(place), now_s) for place in np.flatnonzero(seen)]

    def _slower(self, requests: NDArray[np.int64], now_s: float) -> Array:
        """By how much both latencies of each replica are longer at the moment."""
        deed = self._deed
        slow = self._rng.binomial(requests, deed.slow_share * self._changed) / np.maximum(requests, 1)
        age_min = np.maximum(now_s - self._up_at_s, 0.0) / MINUTE_S
        found: Array = np.exp(deed.growth_per_min * np.where(self._changed, age_min, 0.0))
        found *= 1 + slow * (deed.slow_times - 1)
        if self._neighbour_s[0] <= now_s < self._neighbour_s[1]:
            found[0] *= deed.neighbour
        return found

    def _start(self, place: int) -> None:
        """A new process."""
        serves_s = self._clock.now() + self._around.start_s
        changed, deed = bool(self._changed[place]), self._deed
        self._counted[place] = 0.0
        self._up_at_s[place], self._dies_at_s[place] = serves_s, serves_s + float(self._lives(1)[0])
        if changed and deed.start is not Start.SERVES:
            self._up_at_s[place], self._dies_at_s[place] = inf, serves_s
            return
        if changed:
            self._dies_at_s[place] = min(self._dies_at_s[place], serves_s + deed.life_s)
        self._drawn.restart([place], int((serves_s - self.began_s) // MINUTE_S))

    def _lives(self, count: int) -> Array:
        """How long processes run until they restart by themselves."""
        mean_s = self._around.own_restart_s
        return self._rng.exponential(mean_s, count) if mean_s < inf else np.full(count, inf)

    def _page(self, place: int, now_s: float) -> Snapshot:
        good, failed, tokens, ttft_s, itl_s, e2e_s = self._counted[place].tolist()
        return Snapshot(
            self._targets[place],
            "vllm",
            now_s,
            {
                Metric.FINISHED: {(): good},
                Metric.FAILED: {(): failed},
                Metric.GENERATION_TOKENS: {(): tokens},
            },
            {
                Metric.TTFT: {(): Histogram((inf,), (good,), ttft_s)},
                Metric.ITL: {(): Histogram((inf,), (tokens,), itl_s)},
                Metric.E2E: {(): Histogram((inf,), (good,), e2e_s)},
            },
            started_at_s=float(self._up_at_s[place]),
        )
