"""Sudden harm: failed and rejected requests and restarts, by tests that may be looked at after every scrape.

Each is an e-value: a bet against chance that cannot be expected to gain. By Ville's inequality it ever exceeds
1 / alpha with probability alpha at most, however often one looks. The bets are mixtures over how bad it may be.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from math import exp, log

from perfagent.domain.verdict import Criterion, Effectiveness, Judgement, PairedWindow

SUDDEN_ALPHA = 0.0005
"""Chance that one such test stops an equal canary in one stage. Two kinds of requests and restarts in three stages make
0.0045 of a rollout, which with the metrics' `HARM_ALPHA` is less than one in a hundred."""

ALIKE = 1.5
"""Odds up to which a canary's requests fail more often by the luck of which clients it serves. An assumption."""

ODDS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""How many times the odds of failing the bets are on, in equal parts."""

_DEARER = tuple(log(odds / ALIKE) for odds in ODDS)

OWN_RESTARTS_S = 7 * 86_400.0
"""A server restarts by itself once in so long, until more is seen of its peers. An assumption."""

RATES = (30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
"""How many times as often as its peers a canary restarts: from twice a day on."""

LEAST_REQUESTS = 20.0
"""Requests of each arm below which nothing is said of a share."""

Step = tuple[float, float, float, float]
"""What fell on the canary and its part in the whole, what fell on the others and theirs, since the step before."""


Bets = tuple[float, ...]
"""The log of what each bet has grown to."""

NO_BETS: Bets = (0.0,) * len(ODDS)
CERTAIN = 1 / SUDDEN_ALPHA
"""An e-value from which on harm is certain."""
NO_EVIDENCE = 1.0
"""An e-value up to which chance explains as well what was seen."""


def placed(bets: Bets, step: Step) -> Bets:
    """The bets after one more step.

    Given how many fail in a step, each falls on the canary as its part of the step's requests says. That the true
    distribution is without replacement makes the bets gain less, never more (Hoeffding, 1963).
    """
    bad, part, others_bad, others_part = step
    all_bad = bad + others_bad
    if not (part and others_part and all_bad):
        return bets
    fair = ALIKE * part + others_part
    return tuple(
        grown + bad * _DEARER[i] + all_bad * log(fair / (odds * part + others_part))
        for i, (grown, odds) in enumerate(zip(bets, ODDS, strict=True))
    )


def evidence(bets: Bets) -> float:
    """How much speaks for more bad requests on the canary than chance and luck make: the e-value."""
    return sum(map(_grown, bets)) / len(bets)


def share_evidence(steps: Iterable[Step]) -> float:
    """The e-value of all these steps."""
    return evidence(reduce(placed, steps, NO_BETS))


def restart_evidence(restarts: int, watched_s: float, others: int, others_s: float) -> float:
    """How much speaks for more restarts of the canary than of its peers: Poisson, over the replica-seconds of each."""
    expected = watched_s * (1 + others) / (OWN_RESTARTS_S + others_s)
    return sum(_grown(restarts * log(rate) - (rate - 1) * expected) for rate in RATES) / len(RATES)


def judge_share(criterion: Criterion, windows: Sequence[PairedWindow], past: Sequence[PairedWindow] = ()) -> Judgement:
    """Whether a share of the requests has clearly risen; nothing else is said of it.

    Against the others in the same windows, or, with a `past`, against what the same replicas did before.
    """
    mine, before = ([w for w in arm if w.metric is criterion.metric] for arm in (windows, past))
    new_bad, new_all = _totals([(w.canary, w.canary_count) for w in mine])
    old_bad, old_all = _totals([(w.baseline, w.baseline_count) for w in before or mine])
    if min(old_all, new_all) < LEAST_REQUESTS:
        counts = f"{new_all:.0f} requests of the canary and {old_all:.0f} of the baseline"
        reason = f"{criterion.metric}: {counts}, {LEAST_REQUESTS:.0f} are needed of each"
        return Judgement(criterion, Effectiveness.NO_DATA, None, None, None, len(mine), reason)
    if before:
        usual = (old_bad + 1) / (old_all + 1)
        steps: list[Step] = [(new_bad, usual, new_all - new_bad, 1 - usual)]
    else:
        steps = [_step(window) for window in mine]
    e_value = share_evidence(steps)
    old, new = old_bad / old_all, new_bad / new_all
    worse = e_value >= CERTAIN
    reason = f"{criterion.metric}: {new:.2%} of {new_all:.0f} requests, baseline {old:.2%} of {old_all:.0f}" + (
        f"; {min(e_value, 1e9):,.0f} to 1 that this is no chance" if worse else ""
    )
    result = Effectiveness.WORSE if worse else Effectiveness.SAME
    return Judgement(criterion, result, new / old if old > 0 else None, None, None, len(mine), reason)


def _step(window: PairedWindow) -> Step:
    """Nothing of a window in which an arm was not seen."""
    if window.canary is None or window.baseline is None:
        return 0.0, 0.0, 0.0, 0.0
    bad, others_bad = window.canary * window.canary_count, window.baseline * window.baseline_count
    return bad, window.canary_count, others_bad, window.baseline_count


def _totals(figures: Sequence[tuple[float | None, float]]) -> tuple[float, float]:
    known = [(share * count, count) for share, count in figures if share is not None]
    return sum(bad for bad, _ in known), sum(count for _, count in known)


def _grown(gain: float) -> float:
    return exp(min(gain, 500.0))
