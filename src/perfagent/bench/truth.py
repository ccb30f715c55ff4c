"""What counts as right: what was injected, if the scenario played again without it is cured.

A limit is a cause when lifting it alone takes away at least half of what waits for a first token; whoever names another
limit that cures as well is right too. A situation between the lines has no truth and is drawn again.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

from perfagent.bench.play import Lift, Played, play
from perfagent.bench.scenario import NONE, Kind, Scenario
from perfagent.domain.finding import Cause

CURED = 0.5
"""Of the backlog, or of the gap between tokens, at most so much is left when the cause is taken away."""
UNCHANGED = 0.75
"""At least so much is left when something is taken away that is not a cause."""
STALL = 4.0
"""Times the mean gap between tokens, from which on the gap that one waits in is a stall."""
STANDING = 0.75
"""A queue that is a problem is there at least this share of the time."""
PASSING = 0.25
"""One that is none, at most this share."""
LEAST_BACKLOG = 2.0
"""Requests; fewer are no backlog."""

LEAST_FAILURES = 10
"""Fewer requests that fail are an accident or a fault, and nobody can say which."""

_LIMITS = {Lift.BATCH: Cause.BATCH_LIMIT, Lift.KV: Cause.KV_CAPACITY, Lift.BUDGET: Cause.PREFILL_BUDGET}


def accepted(scenario: Scenario, base: Played) -> frozenset[str] | None:
    """The labels that are right, the scenario's own among them; None where it came out otherwise or nobody came."""
    if not base.open:
        return None
    return _JUDGES.get(scenario.kind, _nothing)(scenario, base)


def nothing_wrong(scenario: Scenario, base: Played) -> bool:
    """Somebody came, nobody queues for long or is turned away, and the batch does not slow the tokens much."""
    if not base.open or base.queued_share > PASSING or base.refused:
        return False
    # no gap is shorter than a step, and no step than the weights take, whatever the batch costs
    at_least_s = scenario.setup.step_time.base_s
    if base.itl_s is not None and at_least_s >= UNCHANGED * base.itl_s:
        return True
    return _gap_left(scenario, base, Lift.DECODE) >= UNCHANGED


def excused(scenario: Scenario, base: Played, named: Collection[Cause]) -> frozenset[str]:
    """Those of the causes named that may be told although nothing is wrong.

    That whoever decodes stalls while long prompts are read, where reading them in small pieces changes that; and that
    hardly anything is to be done.
    """
    told = {Cause.UNDERUSED} if base.open <= 1 else set()
    if Cause.LONG_PROMPT_INTERFERENCE in named and _stall_left(scenario, base) < UNCHANGED:
        told.add(Cause.LONG_PROMPT_INTERFERENCE)
    return frozenset(cause.value for cause in told.intersection(named))


def _nothing(scenario: Scenario, base: Played) -> frozenset[str] | None:
    return frozenset({NONE, *excused(scenario, base, tuple(Cause))}) if nothing_wrong(scenario, base) else None


def _errors(scenario: Scenario, base: Played) -> frozenset[str] | None:
    """As healthy, but for the requests that fail."""
    if base.refused < LEAST_FAILURES or not nothing_wrong(scenario, replace(base, refused=0)):
        return None
    return frozenset({Cause.ERRORS.value})


def _limit(scenario: Scenario, base: Played) -> frozenset[str] | None:
    if base.backlog < LEAST_BACKLOG or not _stands(scenario.kind, base):
        return None
    cures = _cures(scenario, base)
    return cures if scenario.kind.label in cures else None


def _cures(scenario: Scenario, base: Played) -> frozenset[str]:
    return frozenset(cause.value for lift, cause in _LIMITS.items() if _left(scenario, base, lift) <= CURED)


def _stands(kind: Kind, base: Played) -> bool:
    """Prompts that are read in small pieces may keep one another waiting with an empty queue."""
    return kind is Kind.PREFILL_BUDGET or base.queued_share >= STANDING


def _overload(scenario: Scenario, base: Played) -> frozenset[str] | None:
    """No setting helps, nor all together; faster hardware does."""
    if base.backlog < LEAST_BACKLOG or base.queued_share < STANDING:
        return None
    if any(_left(scenario, base, lift) < UNCHANGED for lift in (*_LIMITS, Lift.SETTINGS)):
        return None
    return frozenset({Cause.OVERLOAD.value}) if _left(scenario, base, Lift.HARDWARE) <= CURED else None


def _decoding(scenario: Scenario, base: Played) -> frozenset[str] | None:
    """The batch makes the steps long, and prompts do not."""
    if base.queued_share > PASSING or base.refused or _gap_left(scenario, base, Lift.DECODE) > CURED:
        return None
    if _gap_left(scenario, base, Lift.PROMPTS) < UNCHANGED:
        return None
    return frozenset({Cause.DECODE_BANDWIDTH.value})


def _interference(scenario: Scenario, base: Played) -> frozenset[str] | None:
    """Few gaps are so long that they make up the waiting, and reading prompts in small pieces takes them away."""
    if base.queued_share > PASSING or base.refused or not base.itl_s or not base.stall_s:
        return None
    if base.stall_s < STALL * base.itl_s or _stall_left(scenario, base) > CURED:
        return None
    return frozenset({Cause.LONG_PROMPT_INTERFERENCE.value})


def _cache(scenario: Scenario, base: Played) -> frozenset[str] | None:
    """Somebody mostly waits for a first token, and not half as long where what prompts share is kept."""
    kept = play(scenario, Lift.CACHE)
    if base.backlog < UNCHANGED or not base.ttft_s or not kept.ttft_s or kept.ttft_s > CURED * base.ttft_s:
        return None
    return frozenset({Cause.PREFIX_CACHE.value}) | _cures(scenario, base)


def _noisy(scenario: Scenario, base: Played) -> frozenset[str] | None:
    """Steps take longer from some moment on while somebody mostly waits for them, and would not without that."""
    even = play(scenario, Lift.SLOWNESS)
    if base.queued_share > PASSING or base.refused or base.open < 1 or not even.itl_s or not base.itl_s:
        return None
    return frozenset({Cause.HOST_BOUND.value}) if even.itl_s <= UNCHANGED * base.itl_s else None


def _outlier(scenario: Scenario, base: Played) -> frozenset[str] | None:
    """One replica's steps take longer; with that taken away nothing is wrong."""
    even = play(scenario, Lift.SLOWNESS)
    if even.queued_share > PASSING or not even.itl_s or not base.itl_s or base.itl_s <= even.itl_s:
        return None
    return frozenset({Cause.REPLICA_OUTLIER.value})


_JUDGES: dict[Kind, Callable[[Scenario, Played], frozenset[str] | None]] = {
    Kind.BATCH_LIMIT: _limit,
    Kind.KV_CAPACITY: _limit,
    Kind.PREFILL_BUDGET: _limit,
    Kind.OVERLOAD: _overload,
    Kind.DECODE_BANDWIDTH: _decoding,
    Kind.ERRORS: _errors,
    Kind.REPLICA_OUTLIER: _outlier,
    Kind.LONG_PROMPTS: _interference,
    Kind.NOISY_HOST: _noisy,
    Kind.PREFIX_CACHE: _cache,
}


def _left(scenario: Scenario, base: Played, lift: Lift) -> float:
    """How much of the backlog is there without the limit."""
    return play(scenario, lift).backlog / base.backlog


def _stall_left(scenario: Scenario, base: Played) -> float:
    """How much of the stalls is left when prompts are read in small pieces; 1 where nothing was decoded."""
    without = play(scenario, Lift.CHUNK).stall_s
    return without / base.stall_s if without and base.stall_s else 1.0


def _gap_left(scenario: Scenario, base: Played, lift: Lift) -> float:
    """How much of the gap between tokens is left; 1 where nothing was decoded."""
    without = play(scenario, lift).itl_s
    return without / base.itl_s if without and base.itl_s else 1.0
