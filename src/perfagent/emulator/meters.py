"""What an engine's metrics count, fed by the twin while it runs.

Counters and histograms hold our metrics, not the engine's names (`page.py` writes those). When a histogram observes is
the engine's habit; what it observes is the same for all.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from operator import sub

from perfagent.domain.metric import Metric
from perfagent.emulator.clients import ClientLog
from perfagent.engines.habits import Habits, Moment
from perfagent.twin import Finished, Request

Shapes = Iterable[tuple[Metric, tuple[float, ...]]]
"""Histograms that the page has, with their finite edges."""


class Buckets:
    """One histogram since the process started."""

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """The same value, so many times."""
        self.counts[bisect_left(self.edges, value)] += times
        self.total += value * times

    def observe_each(self, values: Sequence[float], times: int) -> None:
        """Each value, so many times; added up in turn, so that it is the same however they are cut into pieces."""
        first, last = bisect_left(self.edges, min(values)), bisect_left(self.edges, max(values))
        if first == last:
            self.counts[first] += times * len(values)
        else:
            for value in values:
                self.counts[bisect_left(self.edges, value)] += times
        total = self.total
        for value in values:
            total += value * times
        self.total = total


class Meters:
    """The twin's observer: counts what an engine counts, and tells the clients' log the same."""

    def __init__(self, habits: Habits, shapes: Shapes, clients: ClientLog) -> None:
        self.counters: dict[Metric, float] = dict.fromkeys(_COUNTERS, 0)
        self.histograms: dict[tuple[Metric, tuple[float, ...]], Buckets] = {}
        self.generated = 0
        self.computed = 0
        self.asked = False
        """Whether the server ever had a request."""
        self.open: set[str] = set()
        """Requests that came in and neither finished nor went away."""
        self.unanswered: set[str] = set()
        """Those of them that have no token yet."""
        self._front_end_s: dict[str, float] = {}
        self._habits = habits
        self._clients = clients
        by_metric: dict[Metric, list[Buckets]] = {}
        for metric, edges in shapes:
            if (metric, edges) not in self.histograms:
                self.histograms[metric, edges] = Buckets(edges)
                by_metric.setdefault(metric, []).append(self.histograms[metric, edges])
        per_step = {metric for metric, moment in habits.moments.items() if moment is Moment.STEP}
        self._per_token = () if Metric.ITL in per_step else tuple(by_metric.get(Metric.ITL, ()))
        self._per_decode = tuple(by_metric.get(Metric.ITL, ())) if Metric.ITL in per_step else ()
        self._per_prefill = tuple(by_metric.get(Metric.PREFILL_TIME, ())) if Metric.PREFILL_TIME in per_step else ()
        self._step_tokens = tuple(by_metric.get(Metric.STEP_TOKENS, ()))
        self._of_requests = {
            moment: {m: b for m, b in by_metric.items() if habits.moments.get(m, Moment.FINISH) is moment}
            for moment in (Moment.ARRIVAL, Moment.FIRST_TOKEN, Moment.FINISH)
        }
        self._step_open = self._prompt_done = False
        self._step_size = self._prompt_so_far = 0

    # What the twin tells

    def step(self, at_s: float, duration_s: float, prompt_tokens: int, decode_tokens: int) -> None:  # noqa: ARG002
        """A step ended."""
        if self._step_open:
            self.close_step()
        self._step_open = True
        self._step_size = decode_tokens
        if prompt_tokens:
            self.computed += prompt_tokens
            self.counters[Metric.PREFILL_STEPS] += 1
            self._prompt_so_far += prompt_tokens
            for buckets in self._per_prefill:
                buckets.observe(duration_s)
        else:
            self.counters[Metric.DECODE_STEPS] += 1
            for buckets in self._per_decode:
                buckets.observe(duration_s)

    def tokens(self, at_s: float, gap_s: float, count: int) -> None:
        """Requests got a further token each."""
        self.generated += count
        for buckets in self._per_token:
            buckets.counts[bisect_left(buckets.edges, gap_s)] += count
            buckets.total += gap_s * count
        self._clients.tokens(at_s, gap_s, count)

    def decoded(self, start_s: float, since_s: float, ends_s: Sequence[float], count: int) -> None:
        """Steps, one after the other, that only gave the same requests a token each."""
        self.close_step()
        steps = len(ends_s)
        durations = list(map(sub, ends_s, (start_s, *ends_s)))
        gaps = [ends_s[0] - since_s, *durations[1:]]
        self.generated += count * steps
        self.counters[Metric.DECODE_STEPS] += steps
        for buckets in self._per_decode:
            buckets.observe_each(durations, 1)
        for buckets in self._per_token:
            buckets.observe_each(gaps, count)
        for buckets in self._step_tokens:
            buckets.observe(count, steps - 1)
        self._step_open, self._step_size = True, count
        self._clients.decoded(ends_s, gaps, count)

    def first_token(self, request: Request, at_s: float, queue_s: float, ttft_s: float) -> None:
        """A prompt is complete."""
        self.generated += 1
        self._step_size += 1
        self._prompt_done = True
        self.unanswered.discard(request.id)
        self.counters[Metric.PROMPT_TOKENS] += request.prompt_tokens
        ttft_s += self._front_end_s.get(request.id, 0.0)
        self._observe(Moment.FIRST_TOKEN, {Metric.TTFT: ttft_s, Metric.QUEUE_TIME: queue_s})
        self._clients.first_token(at_s, ttft_s)

    def finished(self, record: Finished) -> None:
        """A request is complete; the emulated one always runs to the length it asked for."""
        request = record.request
        self.open.discard(request.id)
        before_s = self._front_end_s.pop(request.id, 0.0)
        self.counters[Metric.FINISHED] += 1
        figures: dict[Metric, float] = {
            Metric.PROMPT_LENGTH: request.prompt_tokens,
            Metric.GENERATION_LENGTH: request.output_tokens,
            Metric.TTFT: before_s + record.ttft_s,
            Metric.E2E: before_s + record.e2e_s,
            Metric.QUEUE_TIME: record.queue_s,
            Metric.PREFILL_TIME: record.prefill_s,
            Metric.DECODE_TIME: record.decode_s,
        }
        tpot_s = self._habits.tpot_s(record.prefill_s, record.decode_s, request.output_tokens)
        if tpot_s is not None:
            figures[Metric.TPOT] = tpot_s
        self._observe(Moment.FINISH, figures)
        self._clients.finished(record.finished_s, before_s + record.e2e_s)

    def preempted(self, request: Request, at_s: float) -> None:  # noqa: ARG002
        """A running request lost its blocks."""
        self.counters[Metric.PREEMPTIONS] += 1

    def prefix(self, queried_tokens: int, hit_tokens: int) -> None:
        """A prompt was looked up in the prefix cache."""
        self.counters[Metric.PREFIX_QUERIES] += queried_tokens
        self.counters[Metric.PREFIX_HITS] += hit_tokens

    # What the server tells

    def accepted(self, request: Request, front_end_s: float = 0.0) -> None:
        """A request came in, after so long in what stands before the scheduler."""
        self.asked = True
        self.open.add(request.id)
        self.unanswered.add(request.id)
        if front_end_s:
            self._front_end_s[request.id] = front_end_s
        self._observe(Moment.ARRIVAL, {Metric.PROMPT_LENGTH: request.prompt_tokens})

    def refused(self, metric: Metric) -> None:
        """A request was turned away; `metric` says how that is counted."""
        self.asked = True
        self.counters[metric] += 1

    def aborted(self, request_id: str) -> None:
        """A client went away."""
        self.open.discard(request_id)
        self.unanswered.discard(request_id)
        self._front_end_s.pop(request_id, None)
        for metric in self._habits.aborted:
            self.counters[metric] += 1

    def close_step(self) -> None:
        """Book the latest step's tokens, if that is not done yet; a prompt's in the step that finishes it."""
        if not self._step_open:
            return
        tokens = self._step_size
        if self._prompt_done:
            tokens += self._prompt_so_far
            self._prompt_so_far = 0
        for buckets in self._step_tokens:
            buckets.counts[bisect_left(buckets.edges, tokens)] += 1
            buckets.total += tokens
        self._step_open = self._prompt_done = False

    def counted(self, metric: Metric) -> float:
        """A counter since the process started."""
        if metric is Metric.GENERATION_TOKENS:
            return self.generated
        if metric is Metric.PROMPT_TOKENS_COMPUTED:
            return self.computed
        return self.counters[metric]

    def _observe(self, moment: Moment, figures: Mapping[Metric, float]) -> None:
        for metric, histograms in self._of_requests[moment].items():
            figure = figures.get(metric)
            if figure is not None:
                for buckets in histograms:
                    buckets.observe(figure)


_COUNTERS = (
    Metric.PREEMPTIONS,
    Metric.PREFILL_STEPS,
    Metric.DECODE_STEPS,
    Metric.PROMPT_TOKENS,
    Metric.PREFIX_QUERIES,
    Metric.PREFIX_HITS,
    Metric.FINISHED,
    Metric.FAILED,
    Metric.REJECTED,
    Metric.ABORTED,
)
