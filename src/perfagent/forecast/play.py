"""One run of the twin, and the figures that come out of it: the same that the server itself would tell."""

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, nextafter

import numpy as np

from perfagent.forecast.demand import Sample
from perfagent.twin import Finished, Replica, Request, SchedulerRules, StepTime

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


@dataclass(slots=True)
class _Seen:
    """What is observed between two times; `front_end_s` passes before and after the scheduler."""

    from_s: float
    to_s: float
    ttfts: list[float] = field(default_factory=list)
    e2es: list[float] = field(default_factory=list)
    gaps: list[tuple[float, int]] = field(default_factory=list)
    tokens_out: int = 0
    preemptions: int = 0
    answered: int = 0
    """From the beginning of the run."""

    def _counts(self, at_s: float) -> bool:
        return self.from_s <= at_s < self.to_s

    def step(self, at_s: float, duration_s: float, prompt_tokens: int, decode_tokens: int) -> None:
        """Nothing to note."""

    def tokens(self, at_s: float, gap_s: float, count: int) -> None:
        if self._counts(at_s):
            self.tokens_out += count
            self.gaps.append((gap_s, count))

    def first_token(self, request: Request, at_s: float, queue_s: float, ttft_s: float) -> None:  # noqa: ARG002
        if self._counts(at_s):
            self.tokens_out += 1
            self.ttfts.append(ttft_s)

    def finished(self, record: Finished) -> None:
        self.answered += 1
        if self._counts(record.finished_s):
            self.e2es.append(record.e2e_s)

    def preempted(self, request: Request, at_s: float) -> None:  # noqa: ARG002
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
) -> dict[Figure, float]:
    """Play a sample and tell what happened in `span`; what did not happen there has no figure.

    Requests that this server could never take are left out, as it would refuse them.
    """
    from_s, to_s = span
    seen = _Seen(from_s, to_s)
    requests = [request for request in sample.requests if rules.takes(request)]
    replica = Replica(rules, step_time, seen, start_s=min([from_s, *(r.arrival_s for r in sample.requests[:1])]))
    for request in requests:
        replica.submit(request)
    gauges = np.zeros((LOOKS, 3))
    for turn, at_s in enumerate(np.linspace(from_s, to_s, LOOKS + 1)[1:]):
        _advance(replica, float(at_s), seen, sample, rules)
        gauges[turn] = (replica.running, replica.waiting, replica.kv_usage)
    running, waiting, usage = (float(mean) for mean in gauges.mean(axis=0))
    figures = {
        Figure.THROUGHPUT: seen.tokens_out / (to_s - from_s),
        Figure.RUNNING: running,
        Figure.WAITING: waiting,
        Figure.KV_USAGE: usage,
        Figure.PREEMPTIONS: 60 * seen.preemptions / (to_s - from_s),
    }
    if seen.ttfts:
        ttfts = np.array(seen.ttfts) + front_end_s
        p50, p95 = np.quantile(ttfts, (0.5, 0.95))
        figures |= {Figure.TTFT_MEAN: float(ttfts.mean()), Figure.TTFT_P50: float(p50), Figure.TTFT_P95: float(p95)}
    if seen.gaps:
        gaps, counts = (np.array(column) for column in zip(*seen.gaps, strict=True))
        order = np.argsort(gaps)
        reached = np.cumsum(counts[order])
        figures[Figure.ITL_MEAN] = float(gaps @ counts / counts.sum())
        figures[Figure.ITL_P95] = float(gaps[order][np.searchsorted(reached, 0.95 * reached[-1])])
    if seen.e2es:
        figures[Figure.E2E_MEAN] = float(np.mean(seen.e2es)) + front_end_s
    return figures


def _advance(replica: Replica, to_s: float, seen: _Seen, sample: Sample, rules: SchedulerRules) -> None:
    """On to a time; whoever waits for an answer asks again when it is there."""
    if sample.follow_up is None:
        replica.advance(to_s)
        return
    while (next_s := replica.next_event_s) is not None and next_s < to_s:
        answered = seen.answered
        replica.advance(nextafter(next_s, inf))
        for _ in range(seen.answered - answered):
            request = sample.follow_up(replica.now_s)
            if rules.takes(request):
                replica.submit(request)
    replica.advance(to_s)
