"""The figures that detectors look at, computed once per window.

What matters is what happened while the server had work: an idle stretch before or after a load says nothing about its
limits. A scrape is *busy* when requests run or wait, *queueing* when at least one waits for room.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil, isfinite, sqrt
from statistics import median

from perfagent.analysis.limits import LIMITS
from perfagent.analysis.spread import robust_sd
from perfagent.analysis.steps import prompt_tokens_computed, reading_step_tokens, step_tokens
from perfagent.domain.knob import EffectiveConfig, Knob
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, increase, levels, mean_level, observed
from perfagent.engines import reserves_output


@dataclass(frozen=True)
class Signals:
    """One window of one replica beside its configuration. Every figure is None where it cannot be known."""

    window: Window
    config: EffectiveConfig

    @cached_property
    def running(self) -> dict[float, float]:
        """Running requests by scrape time."""
        return dict(levels(self.window, Metric.RUNNING))

    @cached_property
    def waiting(self) -> dict[float, float]:
        """Requests waiting for room by scrape time; those deferred for other reasons are taken off where told."""
        deferred = dict(levels(self.window, Metric.WAITING_DEFERRED))
        return {at: max(0.0, n - deferred.get(at, 0.0)) for at, n in levels(self.window, Metric.WAITING)}

    @cached_property
    def kv_usage(self) -> dict[float, float]:
        """KV cache usage by scrape time."""
        return dict(levels(self.window, Metric.KV_USAGE))

    @cached_property
    def busy(self) -> tuple[float, ...]:
        """Times of the scrapes at which requests ran or waited."""
        return tuple(at for at in self.running if self.running[at] + self.waiting.get(at, 0.0) > 0)

    @cached_property
    def queueing(self) -> tuple[float, ...]:
        """Times of the busy scrapes at which at least one request waited for room."""
        return tuple(at for at in self.busy if self.waiting.get(at, 0.0) >= 1)

    @cached_property
    def working(self) -> tuple[float, ...]:
        """The busy scrapes and those before which requests finished: what is served at once is seldom met running."""
        served = {b.at_s for a, b in pairwise(self.window.snapshots) if increase(Window((a, b)), Metric.FINISHED)}
        return tuple(at for at in self.running if at in served or self._held(at) > 0)

    @property
    def queue_share(self) -> float | None:
        """Share of the scrapes of a working server at which somebody waited."""
        return len(self.queueing) / len(self.working) if self.busy and self.waiting else None

    @property
    def standing_share(self) -> float | None:
        """The same without those at which a queue only drained."""
        share, drain_s = self.queue_share, self.drains_from_s
        if share is None or drain_s is None:
            return share
        return sum(at <= drain_s for at in self.queueing) / len(self.working)

    @cached_property
    def drains_from_s(self) -> float | None:
        """Since when a queue falls, until it is gone or the window ends, because more is served than comes; else None.

        Requests in the system are counted, so that nobody who only moves from the queue into the batch has left it. It
        must go on falling, with clearly fewer coming than are served, or have lost half of its length already. A queue
        that wanders falls from its peak by chance as far as a random walk strays in as many steps: steps as unlike one
        another as most of these, which are large where clients always give up and not where many did once, and as those
        of arrivals of which as many came as were served. One that falls by more than was served was given up.
        """
        held = {at: self._held(at) for at in self.running if at in self.waiting}
        if not self.queueing or not held:
            return None
        peak, from_s = max((held[at], at) for at in held if at <= self.queueing[-1])
        until_s = min((at for at in held if at > self.queueing[-1]), default=self.queueing[-1])
        rest = self.window.between(from_s, until_s)
        served = None if rest is None else increase(rest, Metric.FINISHED)
        levels = [held[at] for at in held if from_s <= at <= until_s]
        if not served or len(levels) < LIMITS.least_points:
            return None
        fall, steps = peak - levels[-1], [b - a for a, b in pairwise(levels)]
        unlike = robust_sd(step - median(steps) for step in steps)
        by_chance = max(sqrt(served), sqrt(len(steps)) * unlike)
        clearly = served - fall <= served / LIMITS.growth or fall >= peak / 2
        return from_s if clearly and LIMITS.chance_sds * by_chance <= fall <= served else None

    @property
    def running_mean(self) -> float | None:
        """Running requests while busy."""
        return _mean(self.running, self.busy)

    @property
    def waiting_mean(self) -> float | None:
        """Waiting requests while busy."""
        return _mean(self.waiting, self.busy)

    def _growth(self, at: Sequence[float]) -> float | None:
        """Mean queue in the second half of these scrapes over that in the first half, taken as one at least."""
        levels = [self.waiting[t] for t in at if t in self.waiting]
        half = len(levels) // 2
        return None if half < 2 else sum(levels[-half:]) / max(sum(levels[:half]), half)

    @property
    def running_queueing(self) -> float | None:
        """Running requests while others waited."""
        return _mean(self.running, self.queueing)

    @property
    def running_peak(self) -> float | None:
        """Most requests seen running while others waited."""
        return max((self.running[at] for at in self.queueing), default=None)

    def stands_at(self, running: float, share: float) -> bool:
        """Whether as many ran at this share of the queueing scrapes, give or take the slots just left.

        A slot stays empty for up to two steps after its request has finished: engines plan one step ahead. In each
        step as many finish as run, over the steps that a request takes. An engine that counts its steps may count its
        requests when prompts are about to join, and leave these out.
        """
        left = 2 * (self.running_queueing or 0.0) * (self.itl_s or 0.0) / served if (served := self.served_s) else 0.0
        left += self._about_to_join
        there = sum(self.running[at] >= running - left for at in self.queueing)
        return bool(self.queueing) and there >= share * len(self.queueing)

    @property
    def _about_to_join(self) -> float:
        """Requests that join together, rounded up; 0 for engines that do not count the steps in which they do."""
        joined, steps = (_grown(self.queueing_pairs, m) for m in (Metric.FINISHED, Metric.PREFILL_STEPS))
        return ceil(joined / steps) if joined and steps else 0.0

    @cached_property
    def ranks(self) -> int:
        """Engine ranks behind the server, each with a batch of its own: each tells how many it runs."""
        return (
            max((len(snapshot.scalars.get(Metric.RUNNING, ())) for snapshot in self.window.snapshots), default=0) or 1
        )

    @property
    def seats(self) -> float | None:
        """Requests that may run at once over all ranks: each is limited by itself, and the tighter limit binds."""
        limits = [
            limit for knob in (Knob.MAX_ACTIVE_SEQS, Knob.MAX_NUM_SEQS) if (limit := self.limit(knob)) is not None
        ]
        return min(limits) * self.ranks if limits else None

    def at_limit(self, share: float) -> bool:
        """Whether running stands at its limit at this share of the queueing scrapes; False where nobody told it."""
        return self.seats is not None and self.stands_at(self.seats, share)

    def stands_still(self, share: float) -> bool:
        """Whether the very same count ran at this share of the queueing scrapes."""
        counts = [self.running[at] for at in self.queueing]
        return bool(counts) and max(map(counts.count, counts)) >= share * len(counts)

    def may_be_at_limit(self, share: float) -> bool:
        """The same, but a count that stands still may be at a limit nobody told, unless all defaults are higher."""
        peak = self.running_peak
        if self.seats is not None or peak is None:
            return self.at_limit(share)
        return peak >= self.ranks * self.at_least(Knob.MAX_NUM_SEQS) and self.stands_at(peak, share)

    @property
    def kv_queueing(self) -> float | None:
        """KV usage while requests waited."""
        return _mean(self.kv_usage, self.queueing)

    @property
    def kv_mean(self) -> float | None:
        """KV usage while busy."""
        return _mean(self.kv_usage, self.busy)

    @property
    def kv_peak(self) -> float | None:
        """Highest KV usage seen."""
        return max(self.kv_usage.values(), default=None)

    @cached_property
    def busy_pairs(self) -> tuple[Window, ...]:
        """The stretches between neighbouring scrapes that had work at either end."""
        return self._pairs(set(self.busy))

    @cached_property
    def free_pairs(self) -> tuple[Window, ...]:
        """The stretches with work at neither end of which anybody waited."""
        at = set(self.queueing)
        return tuple(pair for pair in self.busy_pairs if at.isdisjoint((pair.start_s, pair.end_s)))

    @cached_property
    def queueing_pairs(self) -> tuple[Window, ...]:
        """The stretches between neighbouring scrapes at whose end somebody waited."""
        at = set(self.queueing)
        return tuple(pair for pair in self.busy_pairs if pair.end_s in at)

    def _pairs(self, at: set[float]) -> tuple[Window, ...]:
        return tuple(Window((a, b)) for a, b in pairwise(self.window.snapshots) if a.at_s in at or b.at_s in at)

    @cached_property
    def ttft_s(self) -> float | None:
        """Mean time to first token."""
        return self._exact_mean(Metric.TTFT)

    @cached_property
    def itl_s(self) -> float | None:
        """Mean gap between output tokens."""
        return self._exact_mean(Metric.ITL)

    @cached_property
    def e2e_s(self) -> float | None:
        """Mean time from acceptance to the last token."""
        return self._exact_mean(Metric.E2E)

    @cached_property
    def queue_s(self) -> float | None:
        """Mean time in the queue as the engine books it: requests that still wait are not in it yet."""
        return self._exact_mean(Metric.QUEUE_TIME)

    @cached_property
    def generation_tokens_per_request(self) -> float | None:
        """Mean output length of finished requests."""
        return self._exact_mean(Metric.GENERATION_LENGTH)

    @cached_property
    def prompt_tokens_per_request(self) -> float | None:
        """Mean prompt length of finished requests."""
        return self._exact_mean(Metric.PROMPT_LENGTH)

    @cached_property
    def decode_s(self) -> float | None:
        """Mean time a request spends decoding: booked by the engine, else ITL × output length."""
        booked = self._exact_mean(Metric.DECODE_TIME)
        if booked is not None:
            return booked
        if self.itl_s is None or self.generation_tokens_per_request is None:
            return None
        return self.itl_s * self.generation_tokens_per_request

    @cached_property
    def prefill_s(self) -> float | None:
        """Mean time from scheduling to the first token: booked by the engine, else what E2E leaves."""
        booked = self._exact_mean(Metric.PREFILL_TIME)
        if booked is not None:
            return booked
        if self.e2e_s is None or self.decode_s is None or self.queue_s is None:
            return None
        return max(0.0, self.e2e_s - self.queue_s - self.decode_s)

    @property
    def served_s(self) -> float | None:
        """Mean time from scheduling to the last token."""
        return None if self.prefill_s is None or self.decode_s is None else self.prefill_s + self.decode_s

    @property
    def before_first_token_share(self) -> float | None:
        """Share of a request's life before its first token: waiting for room, then being read."""
        before = [value for value in (self.wait_s, self.prefill_s) if value is not None]
        if not before or self.decode_s is None or sum(before) + self.decode_s <= 0:
            return None
        return sum(before) / (sum(before) + self.decode_s)

    @property
    def prompt_token_share(self) -> float | None:
        """Share of the computed tokens that were a prompt's."""
        prompt, generated = prompt_tokens_computed(self.window), increase(self.window, Metric.GENERATION_TOKENS)
        if prompt is None or generated is None or prompt + generated <= 0:
            return None
        return prompt / (prompt + generated)

    @property
    def prompts_read(self) -> float | None:
        """Running requests whose prompt is being read, on average while busy. From 1 on somebody's always is."""
        if not self.served_s or self.prefill_s is None or self.running_mean is None:
            return None
        return self.running_mean * self.prefill_s / self.served_s

    @cached_property
    def prompt_tokens_computed(self) -> float | None:
        """Tokens of a mean prompt that were not found in the prefix cache."""
        prompt = self.prompt_tokens_per_request
        whole, computed = (increase(self.window, m) for m in (Metric.PROMPT_TOKENS, Metric.PROMPT_TOKENS_COMPUTED))
        fresh = min(1.0, computed / whole) if whole and computed is not None else 1.0
        return None if prompt is None else fresh * prompt

    @property
    def prompt_kv_share(self) -> float | None:
        """Share of the KV cache that a mean prompt takes, tokens found in the prefix cache aside."""
        capacity, prompt = mean_level(self.window, Metric.KV_CAPACITY), self.prompt_tokens_computed
        return prompt / capacity if capacity and prompt is not None else None

    @cached_property
    def kv_with_next(self) -> float | None:
        """Share of the KV cache that would be spoken for with one more request, while requests wait.

        An engine that reserves whole answers has given away more than is in use: a running request counts in full.
        """
        used, running, capacity = self.kv_queueing, self.running_queueing, mean_level(self.window, Metric.KV_CAPACITY)
        prompt, answer = self.prompt_kv_share, self.generation_tokens_per_request
        if used is None or prompt is None:
            return used
        if answer is None or not capacity or running is None or not reserves_output(self.window.engine):
            return used + prompt
        return max(used + prompt, (running + 1) * (prompt + answer / capacity))

    @property
    def reserved_queueing(self) -> float | None:
        """Tokens reserved while requests wait, of the most that were ever reserved in the window: 1 is a full cache."""
        reserved = dict(levels(self.window, Metric.KV_RESERVED))
        mean, most = _mean(reserved, self.queueing), max(reserved.values(), default=0.0)
        return mean / most if mean is not None and most > 0 else None

    @property
    def evicted_share(self) -> float | None:
        """Evictions per finished request."""
        finished = increase(self.window, Metric.FINISHED)
        return None if self.preemptions is None or finished is None else self.preemptions / max(finished, 1.0)

    @cached_property
    def evicting_share(self) -> float:
        """Share of the busy time from the first stretch with an eviction to the last one; 1 for a server's life."""
        return self._evicting_share(self.window.end_s)

    @cached_property
    def evicting_standing_share(self) -> float:
        """The same, but evictions while a queue only drains do not count."""
        return self._evicting_share(self.window.end_s if self.drains_from_s is None else self.drains_from_s)

    def _evicting_share(self, until_s: float) -> float:
        if self.window.since_start:
            return 1.0
        pairs = self.busy_pairs
        turns = [
            turn for turn, pair in enumerate(pairs) if pair.end_s <= until_s and increase(pair, Metric.PREEMPTIONS)
        ]
        return (turns[-1] - turns[0] + 1) / len(pairs) if turns else 0.0

    @cached_property
    def step_queueing(self) -> float | None:
        """Tokens that a rank computes per step while requests wait."""
        return step_tokens(self.queueing_pairs, self.ranks)

    @cached_property
    def step_busy(self) -> float | None:
        """Tokens that a rank computes per step while there is work."""
        return step_tokens(self.busy_pairs, self.ranks)

    @cached_property
    def reading_step(self) -> float | None:
        """Prompt tokens per step that reads any, of engines that count such steps."""
        return reading_step_tokens(self.window)

    @cached_property
    def reading_time_share(self) -> float | None:
        """Share of the busy time that went into steps that read prompts, of engines that count and time them."""
        timed = observed(self.window, Metric.PREFILL_TIME)
        steps, seconds = _grown(self.busy_pairs, Metric.PREFILL_STEPS), sum(pair.span_s for pair in self.busy_pairs)
        if timed is None or timed.mean is None or steps is None or seconds <= 0:
            return None
        return min(1.0, steps * timed.mean / seconds)

    @cached_property
    def finished_per_s(self) -> float | None:
        """Requests finished per busy second."""
        return self.busy_rate(Metric.FINISHED)

    @cached_property
    def arrivals_per_s(self) -> float | None:
        """Requests that came per busy second: as many as were counted, or more where the queue shows more.

        Clients that give up are counted by few engines. Under a queue that keeps its length, Little's law tells of them
        all the same: a queue's length over the time spent in it is how many joined it. A queue that grows or drains is
        not as long as it was for those whose wait is booked; one that grew at first may have come to stand since.
        """
        known = (self._counted_arrivals_per_s(), self._joined_per_s(self.busy[len(self.busy) // 2 :]))
        return max((value for value in known if value is not None), default=None)

    def _joined_per_s(self, at: Sequence[float]) -> float | None:
        """Those that joined the queue between these scrapes; None where it does not keep its length."""
        growth, waiting = self._growth(at), _mean(self.waiting, at)
        if growth is None or waiting is None or not 1 / LIMITS.growth < growth < LIMITS.growth:
            return None
        part = self.window.between(at[0], at[-1])
        spent = None if part is None else observed(part, Metric.QUEUE_TIME)
        return waiting / spent.mean if spent is not None and spent.mean else None

    def _counted_arrivals_per_s(self) -> float | None:
        """Those finished plus those that now run or wait in addition.

        Nothing is known to have come in a stretch in which more left than finished.
        """
        seconds = came = 0.0
        for pair in self.busy_pairs:
            finished = increase(pair, Metric.FINISHED)
            if finished is not None:
                came += max(0.0, finished + self._held(pair.end_s) - self._held(pair.start_s))
                seconds += pair.span_s
        return came / seconds if seconds > 0 else None

    def _held(self, at: float) -> float:
        return self.running.get(at, 0.0) + self.waiting.get(at, 0.0)

    @cached_property
    def preemptions(self) -> float | None:
        """Requests evicted for want of KV blocks within the window."""
        return increase(self.window, Metric.PREEMPTIONS)

    @cached_property
    def preemptions_per_min(self) -> float | None:
        """Evictions per busy minute."""
        per_s = self.busy_rate(Metric.PREEMPTIONS)
        return None if per_s is None else 60 * per_s

    @cached_property
    def wait_s(self) -> float | None:
        """How long a request waits for room: booked queue time, or by Little's law from the queue's length.

        The longer of the two counts: bookings lag behind a growing queue and leave out who gives up, and scrapes may
        miss a short one. Where hardly anybody is still here at the end, of all who finished, and waits are shorter than
        the time between scrapes, bookings alone count: scrapes may be in step with such waits and meet one every time.
        """
        finished = increase(self.window, Metric.FINISHED)
        still_here = self._held(max(self.running, default=0.0))
        between_s = self.window.span_s / max(1, len(self.window.snapshots) - 1)
        short = self.queue_s is not None and self.queue_s < between_s
        if short and finished and still_here < LIMITS.wait_share * finished:
            return self.queue_s
        served, waiting = self.finished_per_s, self.waiting_mean
        by_length = waiting / served if served and waiting is not None else None
        known = [value for value in (self.queue_s, by_length) if value is not None]
        return max(known) if known else None

    @property
    def wait_share(self) -> float | None:
        """Share of a request's life spent waiting for room."""
        if self.wait_s is None or self.e2e_s is None or self.queue_s is None:
            return None
        served_s = max(self.e2e_s - self.queue_s, 0.0)
        whole = served_s + self.wait_s
        return self.wait_s / whole if whole > 0 else None

    def busy_rate(self, metric: Metric) -> float | None:
        """Increase of a counter per busy second."""
        seconds = sum(pair.span_s for pair in self.busy_pairs)
        grown = _grown(self.busy_pairs, metric)
        return grown / seconds if grown is not None and seconds > 0 else None

    def limit(self, knob: Knob) -> float | None:
        """A numeric setting, where it is known for sure."""
        return self.config.number(knob)

    def at_least(self, knob: Knob) -> float:
        """What a numeric setting is not below: its value where known, else its smallest default, else 0."""
        known = self.limit(knob)
        return self.config.at_least.get(knob, 0.0) if known is None else known

    @property
    def certainty(self) -> float:
        """0–1: how much a pattern over these scrapes is worth. Six busy scrapes make a pattern, one is a hint."""
        if self.window.since_start:
            return 0.5
        return min(1.0, 0.4 + 0.1 * len(self.busy))

    def _exact_mean(self, metric: Metric) -> float | None:
        seen = observed(self.window, metric)
        return None if seen is None else seen.mean


def _mean(values: dict[float, float], at: Sequence[float]) -> float | None:
    known = [values[t] for t in at if t in values and isfinite(values[t])]
    return sum(known) / len(known) if known else None


def _grown(pairs: Sequence[Window], metric: Metric) -> float | None:
    grown = [value for pair in pairs if (value := increase(pair, metric)) is not None]
    return sum(grown) if grown else None
