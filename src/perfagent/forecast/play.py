"""One run of the twin, and the figures that come out of it: the same that the server itself would tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, nextafter
from operator import sub

import numpy as np
from numpy.typing import NDArray

from perfagent.domain.slo import Comparison, Objective, SloMetric
from perfagent.forecast.demand import Sample
from perfagent.twin import Finished, Replica, Request, SchedulerRules, StepTime

MOST_REFUSED = 20
"""How often in a row a client asks for more than the server takes, until it gives up."""
LOOKS = 30
"""How often gauges are read over the part that counts."""


class Figure(StrEnum):
    """What is predicted. Times in seconds, ratios from 0 to 1."""

    TTFT_MEAN = "ttft_mean_s"
    TTFT_P50 = "ttft_p50_s"
    TTFT_P95 = "ttft_p95_s"
    ITL_MEAN = "itl_mean_s"
    ITL_P95 = "itl_p95_s"
    E2E_MEAN = "e2e_mean_s"
    THROUGHPUT = "throughput_tok_s"
    RUNNING = "running_mean"
    WAITING = "waiting_mean"
    KV_USAGE = "kv_usage_mean_ratio"
    PREEMPTIONS = "preemptions_per_min"

    @property
    def most(self) -> float:
        """What it cannot exceed."""
        return 1.0 if self is Figure.KV_USAGE else inf

    @property
    def negligible(self) -> float:
        """Up to which it is as good as nothing."""
        return 1.0 if self in (Figure.WAITING, Figure.PREEMPTIONS) else 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """What came out of one run: figures, and what they were made from."""

    figures: Mapping[Figure, float]
    """What did not happen in the part that counts has none."""
    ttfts: NDArray[np.float64]
    gaps: NDArray[np.float64]
    """A row per kind of gap between tokens: seconds, and how many there were."""
    answers: NDArray[np.float64]
    """A row per request answered: seconds to the first token, per further token and in all, and its tokens."""
    span_s: float
    queue_growth: float
    """Requests by which more wait in the last third of the part that counts than in its first."""

    def value(self, objective: Objective) -> float | None:
        """The figure that the objective is about; its share of observations within the target where it asks for one.

        None for what the twin does not play: errors, and time in the queue alone.
        """
        level = _LEVELS.get(objective.metric)
        if level is not None:
            return self.figures.get(level)
        values, weights = self._observed(objective.metric)
        if not len(values):
            return None
        if objective.share is not None:
            return float(weights[values <= objective.target].sum() / weights.sum())
        q = objective.statistic.q
        return float(values @ weights / weights.sum()) if q is None else _quantile(values, weights, q)

    def goodput_tok_s(self, objectives: Sequence[Objective]) -> float:
        """Tokens per second of answers that kept every latency target."""
        kept = np.ones(len(self.answers), dtype=bool)
        for objective in objectives:
            column = _ANSWER.get(objective.metric)
            if column is not None and objective.comparison is Comparison.LESS_THAN:
                kept &= self.answers[:, column] <= objective.target
        return float(self.answers[kept, 3].sum()) / self.span_s

    def _observed(self, metric: SloMetric) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values and how often each was observed."""
        if metric is SloMetric.TTFT:
            return self.ttfts, np.ones(len(self.ttfts))
        if metric is SloMetric.ITL:
            return self.gaps[:, 0], self.gaps[:, 1]
        column = _ANSWER.get(metric)
        return (np.zeros(0), np.zeros(0)) if column is None else (self.answers[:, column], np.ones(len(self.answers)))


_LEVELS = {
    SloMetric.THROUGHPUT: Figure.THROUGHPUT,
    SloMetric.QUEUE_SIZE: Figure.WAITING,
    SloMetric.KV_CACHE_USAGE: Figure.KV_USAGE,
}
_ANSWER = {SloMetric.TTFT: 0, SloMetric.ITL: 1, SloMetric.TPOT: 1, SloMetric.E2E_LATENCY: 2}
"""Columns of an answer; a single request keeps a target on gaps where its mean gap does."""


@dataclass(slots=True)
class _Seen:
    """What is observed between two times."""

    from_s: float
    to_s: float
    gaps_are_steps: bool
    ttfts: list[float] = field(default_factory=list)
    answers: list[tuple[float, float, float, int]] = field(default_factory=list)
    gaps: list[tuple[float, int]] = field(default_factory=list)
    tokens_out: int = 0
    preemptions: int = 0
    answered: int = 0
    """From the beginning of the run."""

    def _counts(self, at_s: float) -> bool:
        return self.from_s <= at_s < self.to_s

    def step(self, at_s: float, duration_s: float, prompt_tokens: int, decode_tokens: int) -> None:  # noqa: ARG002
        """A gap, where the engine takes steps for gaps: those without prompts."""
        if self.gaps_are_steps and not prompt_tokens and self._counts(at_s):
            self.gaps.append((duration_s, 1))

    def tokens(self, at_s: float, gap_s: float, count: int) -> None:
        """Further tokens."""
        if self.from_s <= at_s < self.to_s:  # not a call: this is asked at every step
            self.tokens_out += count
            if not self.gaps_are_steps:
                self.gaps.append((gap_s, count))

    def decoded(self, start_s: float, since_s: float, ends_s: Sequence[float], count: int) -> None:
        """Steps, one after the other, that only gave further tokens."""
        durations = list(map(sub, ends_s, (start_s, *ends_s)))
        gaps = durations if self.gaps_are_steps else [ends_s[0] - since_s, *durations[1:]]
        times = 1 if self.gaps_are_steps else count
        counted = [(gap_s, times) for at_s, gap_s in zip(ends_s, gaps, strict=True) if self._counts(at_s)]
        self.tokens_out += count * len(counted)
        self.gaps += counted

    def first_token(self, request: Request, at_s: float, queue_s: float, ttft_s: float) -> None:  # noqa: ARG002
        """A first token."""
        if self._counts(at_s):
            self.tokens_out += 1
            self.ttfts.append(ttft_s)

    def finished(self, record: Finished) -> None:
        """An answer is complete."""
        self.answered += 1
        if self._counts(record.finished_s):
            tokens = record.request.output_tokens
            per_token = record.decode_s / (tokens - 1) if tokens > 1 else 0.0
            self.answers.append((record.ttft_s, per_token, record.e2e_s, tokens))

    def preempted(self, request: Request, at_s: float) -> None:  # noqa: ARG002
        """A request lost its blocks."""
        if self._counts(at_s):
            self.preemptions += 1

    def prefix(self, queried_tokens: int, hit_tokens: int) -> None:
        """Nothing to note."""


def play(
    rules: SchedulerRules,
    step_time: StepTime,
    sample: Sample,
    span: tuple[float, float],
    front_end_s: float = 0.0,
    *,
    gaps_are_steps: bool = False,
) -> Run:
    """Play a sample and tell what happened in `span`.

    `front_end_s` passes outside the scheduler before a first token. `gaps_are_steps` is of engines that tell how long a
    decode step takes in place of what a client waits for its next token. Requests that this server could never take are
    left out, as it would refuse them.
    """
    from_s, to_s = span
    seen = _Seen(from_s, to_s, gaps_are_steps)
    requests = [request for request in sample.requests if rules.takes(request)]
    replica = Replica(rules, step_time, seen, start_s=min([from_s, *(r.arrival_s for r in sample.requests[:1])]))
    for request in requests:
        replica.submit(request)
    gauges = np.zeros((LOOKS, 3))
    for turn, at_s in enumerate(np.linspace(from_s, to_s, LOOKS + 1)[1:]):
        _advance(replica, float(at_s), seen, sample, rules)
        gauges[turn] = (replica.running, replica.waiting, replica.kv_usage)
    ttfts = np.array(seen.ttfts) + front_end_s
    gaps, answers = np.array(seen.gaps).reshape(-1, 2), np.array(seen.answers).reshape(-1, 4)
    answers[:, (0, 2)] += front_end_s
    running, waiting, usage = (float(mean) for mean in gauges.mean(axis=0))
    figures = {
        Figure.THROUGHPUT: seen.tokens_out / (to_s - from_s),
        Figure.RUNNING: running,
        Figure.WAITING: waiting,
        Figure.KV_USAGE: usage,
        Figure.PREEMPTIONS: 60 * seen.preemptions / (to_s - from_s),
    }
    if len(ttfts):
        p50, p95 = np.quantile(ttfts, (0.5, 0.95))
        figures |= {Figure.TTFT_MEAN: float(ttfts.mean()), Figure.TTFT_P50: float(p50), Figure.TTFT_P95: float(p95)}
    if len(gaps):
        figures[Figure.ITL_MEAN] = float(gaps[:, 0] @ gaps[:, 1] / gaps[:, 1].sum())
        figures[Figure.ITL_P95] = _quantile(gaps[:, 0], gaps[:, 1], 0.95)
    if len(answers):
        figures[Figure.E2E_MEAN] = float(answers[:, 2].mean())
    first, last = (float(part.mean()) for part in (gauges[: LOOKS // 3, 1], gauges[-LOOKS // 3 :, 1]))
    return Run(figures, ttfts, gaps, answers, to_s - from_s, last - first)


def _quantile(values: NDArray[np.float64], weights: NDArray[np.float64], q: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, q * reached[-1])])


def _advance(replica: Replica, to_s: float, seen: _Seen, sample: Sample, rules: SchedulerRules) -> None:
    """On to a time; whoever waits for an answer asks again when it is there."""
    if sample.follow_up is None:
        replica.advance(to_s)
        return
    while (next_s := replica.next_event_s) is not None and next_s < to_s:
        answered = seen.answered
        replica.advance(nextafter(next_s, inf))
        for _ in range(seen.answered - answered):
            asked = (sample.follow_up(replica.now_s) for _ in range(MOST_REFUSED))
            taken = next((request for request in asked if rules.takes(request)), None)
            if taken is not None:
                replica.submit(taken)
    replica.advance(to_s)
