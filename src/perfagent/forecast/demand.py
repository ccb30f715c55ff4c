"""What the clients want, as far as the server's metrics tell: when requests arrive, how long they are, what they share.

Lengths are observed of requests that have finished, which leaves out long answers while a queue builds up; those still
under way are counted in, as answers that are at least so long.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from math import inf, log
from typing import Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import ndtr

from perfagent.domain.errors import InvalidInput
from perfagent.domain.histogram import Histogram
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, increase, levels, observed
from perfagent.engines.servers import habits
from perfagent.twin import Lengths, Request

NARROWEST, WIDEST = 0.01, 2.5
"""Standard deviation of a length's logarithm: between all alike and a factor of twelve either way."""
SPREADS = [float(sigma) for sigma in np.geomspace(NARROWEST, WIDEST, 60)]
USUAL_SPREAD = 0.7
"""What is assumed where buckets tell nothing, to within a factor of e."""
UNDER_WAY = 0.05
"""Of those that finished; fewer still under way change little."""
STEADY_LOOKS = 6
STEADY_VARIANCE = 0.1
"""Of the mean. Independent clients vary by as much as their mean; so little over so many scrapes has a chance of less
than one in a thousand."""
FEWEST_CLIENTS = 4
SAME = 1.25
"""A queue whose later half is longer or shorter by less keeps its length; rates that differ by less are alike."""
ENOUGH_REQUESTS, SHORTEST_S = 200, 30.0
"""What a part of a window holds at least that is played: their mean is known to a tenth of its spread."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """So many requests came between two scrapes. Times in seconds from the window's beginning."""

    from_s: float
    to_s: float
    count: float
    counted: bool = True
    """False where `count` is only expected, of arrivals that keep to no clock."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A window's load, to be asked of the twin again and again with fresh luck."""

    arrivals: tuple[Arrivals, ...]
    prompt: Lengths
    output: Lengths
    reuse: float
    """Share of a prompt that is found in the prefix cache."""
    present: float
    """Requests that were there already when the window began."""
    observed: float
    """Requests whose lengths are known: so sure are these."""
    clients: int | None = None
    """So many that each send their next request when they have their answer, however long it takes; None for clients
    that come when they come."""
    unseen: float = 1.0
    """At most so many times the requests that are counted came: the others gave up and were counted nowhere."""
    burstiness: float = 1.0
    """Variance of the requests that come in a while, over their mean: 1 of independent clients, above 1 in bursts."""
    swing: float = 0.0
    """Standard deviation of the logarithm by which the mean rate may be another; 0 of a load that is known."""
    notes: tuple[str, ...] = ()

    @property
    def rate_per_s(self) -> float:
        """Mean arrivals while there were any."""
        span = self.until_s - self.arrivals[0].from_s
        return sum(each.count for each in self.arrivals if each.to_s <= self.until_s) / span if span > 0 else 0.0

    @property
    def until_s(self) -> float:
        """When the load ends: with the last stretch in which requests still came at half the usual pace."""
        last = self.arrivals[-1]
        usual = sum(each.count for each in self.arrivals) / (last.to_s - self.arrivals[0].from_s)
        full = [each.to_s for each in self.arrivals if each.count >= usual * (each.to_s - each.from_s) / 2]
        return max(full, default=last.to_s)

    @property
    def span(self) -> tuple[float, float]:
        """The part that counts, in seconds from the window's beginning: once the server has filled up."""
        return (0.0 if self.present else self.until_s / 4), self.until_s

    def to_come(self) -> Self:
        """The same in a while to come, as long as the one that was watched.

        By chance alone two such whiles differ, and the more the burstier clients are.
        """
        return replace(self, swing=(2 * self.burstiness / max(self.observed, 1.0)) ** 0.5)

    @property
    def pairs_per_token(self) -> float:
        """Query-key pairs of a mean prompt token that is computed: its share of the prompt before it."""
        return (1 + self.reuse) / 2 * self.prompt.mean * float(np.exp(self.prompt.sigma**2))

    def requests(self, rng: np.random.Generator, *, longest: int, before_s: float = 0.0) -> "Sample":
        """One sample, in order of arrival; `before_s` seconds of the same load come before the window.

        The number that came between two scrapes is kept, when each came is drawn. Requests that no server could take
        are cut to `longest` tokens.
        """
        times, errors, *lengths = rng.spawn(4)
        prompt, output = (replace(one, mean=one.mean * self._error(one, errors)) for one in (self.prompt, self.output))
        made = self._made(lengths, prompt, output, longest)
        if self.clients is not None:
            return Sample([made(-before_s) for _ in range(self.clients)], made)
        stretches = [Arrivals(-before_s, 0.0, self.rate_per_s * before_s, counted=False), *self.arrivals]
        more = 1 + (self.unseen - 1) * float(errors.random())
        more *= float(np.exp(self.swing * errors.standard_normal()))
        drawn = [
            times.uniform(each.from_s, each.to_s, _whole(each.count * more, each.counted, times)) for each in stretches
        ]
        return Sample([made(float(at_s)) for at_s in np.sort(np.concatenate(drawn))], None)

    def _error(self, lengths: Lengths, rng: np.random.Generator) -> float:
        """By how much the mean of so many lengths may be off."""
        return float(np.exp(lengths.sigma / max(self.observed, 1.0) ** 0.5 * rng.standard_normal()))

    def _made(
        self, rngs: Sequence[np.random.Generator], prompt: Lengths, output: Lengths, longest: int
    ) -> Callable[[float], Request]:
        numbers = count()

        def made(at_s: float) -> Request:
            own = min(prompt.draw(rngs[0]), max(1, longest // 2))
            shared = min(round(own * self.reuse), own - 1)
            answer = max(1, min(output.draw(rngs[1]), longest - own))
            return Request(f"r{next(numbers)}", at_s, own, answer, "shared" if shared else None, shared)

        return made


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests as they come, and what follows when one is answered at a time, if anything does."""

    requests: list[Request]
    follow_up: Callable[[float], Request] | None


@dataclass(frozen=True, slots=True)
class Load:
    """A change of the load; what is None stays as it is. Lengths are means, in tokens."""

    rate_per_s: float | None = None
    scale: float | None = None
    """Arrivals, or clients that wait for their answers, times this."""
    prompt_tokens: float | None = None
    output_tokens: float | None = None

    def __post_init__(self) -> None:
        given = (self.rate_per_s, self.scale, self.prompt_tokens, self.output_tokens)
        if any(value is not None and not 0 < value < inf for value in given):
            raise InvalidInput("rates, factors and lengths of a load are above 0")
        if self.rate_per_s is not None and self.scale is not None:
            raise InvalidInput("a load changes by a rate or by a factor, not by both")

    def of(self, demand: Demand) -> Demand:
        """The demand after the change."""
        arrivals = demand.arrivals
        if self.rate_per_s is not None:
            arrivals = (Arrivals(0.0, demand.until_s, self.rate_per_s * demand.until_s, counted=False),)
        elif self.scale is not None:
            arrivals = tuple(replace(each, count=self.scale * each.count) for each in arrivals)
        prompt = demand.prompt if self.prompt_tokens is None else replace(demand.prompt, mean=self.prompt_tokens)
        output = demand.output if self.output_tokens is None else replace(demand.output, mean=self.output_tokens)
        clients = demand.clients
        if self.rate_per_s is not None:
            clients = None
        elif clients is not None and self.scale is not None:
            clients = max(1, round(self.scale * clients))
        return replace(demand, arrivals=arrivals, prompt=prompt, output=output, clients=clients)


def demand(window: Window) -> Demand:
    """What was wanted in the window. Raises `InvalidInput` where its metrics do not tell, or nothing came."""
    finished = observed(window, Metric.GENERATION_LENGTH)
    prompts = observed(window, Metric.PROMPT_LENGTH)
    arrivals = _arrivals(window)
    if finished is None or prompts is None or not finished.count or not prompts.count:
        raise InvalidInput("no request finished in this window with its lengths told: there is no load to predict with")
    if not sum(each.count for each in arrivals) > 0:
        raise InvalidInput("nothing arrived in this window: there is no load to predict with")
    output, notes = _answers(window, finished)
    clients = _clients(window, finished.count)
    if clients is not None:
        notes += (f"{clients} clients seem to wait for their answers before they ask again",)
    unseen = _unseen(window)
    if unseen > 1:
        notes += (
            f"by the queue's length up to {unseen:.1f} times the requests that are counted come: clients give up",
        )
    whole, first = increase(window, Metric.PROMPT_TOKENS), observed(window, Metric.TTFT)
    mean = whole / first.count if whole and first is not None and first.count else prompts.mean
    return Demand(
        arrivals=arrivals,
        prompt=lognormal(prompts, mean),
        output=output,
        reuse=_reuse(window),
        present=_present(window, 0),
        observed=finished.count,
        clients=clients,
        unseen=unseen,
        burstiness=_burstiness(arrivals),
        notes=notes,
    )


def _burstiness(arrivals: Sequence[Arrivals]) -> float:
    """Of counts per stretch around what each would have at the mean rate; 1 where too few stretches tell."""
    if len(arrivals) < STEADY_LOOKS:
        return 1.0
    rate = sum(each.count for each in arrivals) / sum(each.to_s - each.from_s for each in arrivals)
    usual = [rate * (each.to_s - each.from_s) for each in arrivals]
    squares = sum((each.count - mean) ** 2 / mean for each, mean in zip(arrivals, usual, strict=True))
    return squares / (len(arrivals) - 1)


def recent(window: Window, of: Demand) -> tuple[Window, Demand]:
    """The last part of a window that holds enough requests and scrapes, and the same demand coming as it came then.

    Only of a server that was at work when the window began: one that was empty is shown from its start.
    """
    if not of.present or not of.rate_per_s:
        return window, of
    span_s = max(SHORTEST_S, ENOUGH_REQUESTS / of.rate_per_s)
    looks = [snapshot.at_s for snapshot in window.snapshots[-STEADY_LOOKS:]]
    part = window.between(min(window.end_s - span_s, looks[0]), window.end_s)
    if part is None or part.span_s >= window.span_s:
        return window, of
    ratio = of.rate_per_s * part.span_s / max(sum(each.count for each in _arrivals(part)), 1.0)
    arrivals = tuple(replace(each, count=ratio * each.count) for each in _arrivals(part))
    return part, replace(of, arrivals=arrivals, present=_present(part, 0) or of.present)


def lognormal(lengths: Histogram, mean: float | None = None) -> Lengths:
    """Lengths with exactly this mean (by default the histogram's own) and the spread that fits the buckets best."""
    centre = mean or lengths.mean or 1.0
    counts, lows, highs = _buckets(lengths)

    def loss(sigma: float) -> float:
        return _unusual(sigma) - float(counts @ np.log(_inside(lows, highs, log(centre) - sigma**2 / 2, sigma)))

    return Lengths(centre, min(SPREADS, key=loss))


def _unusual(sigma: float) -> float:
    """Where all lengths lie in one bucket, their spread is what it usually is."""
    return log(sigma / USUAL_SPREAD) ** 2 / 2


def _answers(window: Window, finished: Histogram) -> tuple[Lengths, tuple[str, ...]]:
    """Answer lengths from those that finished and, where many more began than finished, from those still under way.

    A request that had its first token so long ago has finished if its answer is shorter than what was produced since.
    """
    first, itl = observed(window, Metric.TTFT), observed(window, Metric.ITL)
    under_way = 0.0 if first is None else first.count - finished.count
    if under_way < UNDER_WAY * finished.count or itl is None or not itl.mean:
        return lognormal(finished), ()
    began, ages = _began(window, itl.mean)
    counts, lows, highs = _buckets(finished)
    start = lognormal(finished)

    def loss(parameters: np.ndarray) -> float:
        mu, sigma = float(parameters[0]), float(np.exp(parameters[1]))
        reached = ndtr((np.minimum(highs[:, None], ages) - mu) / sigma)
        inside = reached - ndtr((np.minimum(lows[:, None], ages) - mu) / sigma)
        shares, longer = inside @ began / began.sum(), ndtr((mu - ages) / sigma) @ began / began.sum()
        likely = counts @ np.log(np.maximum(shares, 1e-12)) + under_way * log(max(longer, 1e-12))
        return _unusual(sigma) - float(likely)

    at = np.array([log(start.mean) - start.sigma**2 / 2, log(start.sigma)])
    bounds = [(at[0] - 3, at[0] + 3), (log(NARROWEST), log(WIDEST))]
    mu, log_sigma = minimize(loss, at, method="L-BFGS-B", bounds=bounds).x
    sigma = float(np.exp(log_sigma))
    note = f"{under_way:.0f} requests had not finished: their answers are taken into account as longer than so far"
    return Lengths(float(np.exp(mu + sigma**2 / 2)), sigma), (note,)


def _began(window: Window, itl_s: float) -> tuple[np.ndarray, np.ndarray]:
    """How many requests had their first token between two scrapes, and the logarithm of the tokens made since then."""
    counts, ages = [], []
    for a, b in pairwise(window.snapshots):
        first = observed(Window((a, b)), Metric.TTFT)
        if first is not None and first.count:
            counts.append(first.count)
            ages.append(log(max(1.5, (window.end_s - (a.at_s + b.at_s) / 2) / itl_s)))
    return np.array(counts), np.array(ages)


def _buckets(lengths: Histogram) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts, and the logarithms of the edges between which each lies; a length is a whole number."""
    edges = np.array((0.0, *lengths.edges))
    with np.errstate(divide="ignore"):
        logs = np.log(np.where(np.isfinite(edges) & (edges > 0), edges + 0.5, edges))
    counts = np.diff(np.array((0.0, *lengths.cumulative)))
    some = counts > 0
    return counts[some], logs[:-1][some], logs[1:][some]


def _inside(lows: np.ndarray, highs: np.ndarray, mu: float, sigma: float) -> np.ndarray:
    shares = ndtr((highs - mu) / sigma) - ndtr((lows - mu) / sigma)
    return np.asarray(np.maximum(shares, 1e-12))


def _reuse(window: Window) -> float:
    whole, hits = (increase(window, metric) for metric in (Metric.PREFIX_QUERIES, Metric.PREFIX_HITS))
    return min(0.99, hits / whole) if whole and hits else 0.0


def _arrivals(window: Window) -> tuple[Arrivals, ...]:
    """What finished, and by how many more there are than ever before: some gauges lag behind and catch up.

    Clients that give up are counted by few engines, and by one of them as finished too; elsewhere they are missed.
    """
    start_s = window.snapshots[0].at_s
    came = most = _present(window, 0)
    counted = habits(window.engine).aborted
    leaving = (Metric.FINISHED,) if Metric.FINISHED in counted else (Metric.FINISHED, Metric.ABORTED)
    found = []
    for turn, (a, b) in enumerate(pairwise(window.snapshots)):
        stretch = Window((a, b))
        left = sum(increase(stretch, metric) or 0.0 for metric in leaving)
        came += left + _present(window, turn + 1) - _present(window, turn)
        found.append(Arrivals(a.at_s - start_s, b.at_s - start_s, max(came - most, 0.0)))
        most = max(most, came)
    if not found:
        raise InvalidInput("one scrape is no window: there is no load to predict with")
    return tuple(found)


def _present(window: Window, turn: int) -> float:
    snapshot = window.snapshots[turn]
    return sum(sum(snapshot.scalars.get(metric, {}).values()) for metric in (Metric.RUNNING, Metric.WAITING))


def _clients(window: Window, finished: float) -> int | None:
    """As many as are always there, where requests come only when others leave; never of a server's first scrapes."""
    there = [_present(window, turn) for turn in range(len(window.snapshots))]
    there = there[next((turn for turn, n in enumerate(there) if n > 0), 0) + 1 :]
    mean = sum(there) / len(there) if there else 0.0
    if len(there) < STEADY_LOOKS or mean < FEWEST_CLIENTS or finished < mean:
        return None
    variance = sum((n - mean) ** 2 for n in there) / (len(there) - 1)
    return round(mean) if variance <= STEADY_VARIANCE * mean else None


def _unseen(window: Window) -> float:
    """By how many times more requests joined the queue than are counted, where that is surely more; else 1.

    By Little's law a queue that keeps its length is joined by its length over the time spent in it. Few engines count
    clients that give up. Of that time is known what those spent who were served, when they are done: first come, first
    served, who gives up spends more, and the queue is the one that they joined. So this is the most there are.
    """
    spent, whole = (observed(window, metric) for metric in (Metric.QUEUE_TIME, Metric.E2E))
    if spent is None or whole is None or not spent.mean or whole.mean is None:
        return 1.0
    middle_s = window.snapshots[len(window.snapshots) // 2].at_s
    part, joined = (window.between(middle_s - ago, window.end_s - ago) for ago in (0.0, whole.mean))
    if part is None or joined is None or middle_s - whole.mean < window.start_s or len(part.snapshots) < STEADY_LOOKS:
        return 1.0
    spent, lengths = observed(part, Metric.QUEUE_TIME), [n for _, n in levels(joined, Metric.WAITING)]
    half = len(lengths) // 2
    before, after = sum(lengths[:half]), sum(lengths[-half:])
    counted = sum(each.count for each in _arrivals(part)) / part.span_s
    if spent is None or not spent.mean or not before or not 1 / SAME <= after / before <= SAME or not counted:
        return 1.0
    ratio = sum(lengths) / len(lengths) / spent.mean / counted
    return ratio if ratio > SAME else 1.0


def _whole(number: float, counted: bool, rng: np.random.Generator) -> int:  # noqa: FBT001
    """A count as a whole number, right on average."""
    return int(number) + int(rng.random() < number % 1) if counted else int(rng.poisson(number))
