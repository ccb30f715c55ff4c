"""What to try next, where a trial is watched and what harms is stopped; and what the trials so far amount to.

A proposal has to be surely for the better. A trial may fail, and teaches either way, so it goes by what is expected: of
the goodput, and of how much better than the best so far it may be (expected improvement; Mockus 1978, Jones and others
1998). Draws count by how well they tell what earlier trials measured.

No agent goes by this: what it rolls out is a proposal. The benchmark of tuning does, where every method may try.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Change, Knob, change_of
from perfagent.domain.slo import Objective
from perfagent.forecast import Forecaster
from perfagent.forecast import server as servers
from perfagent.forecast.server import Server
from perfagent.optimizers.candidates import FEW_TOKENS, MANY_SEATS, MANY_TOKENS, powers
from perfagent.optimizers.search import TIE, worth

ROUNDS = ((2, 6), (4, 3))
"""After how many draws how many of the best go on, to have all draws in the end: successive halving (Jamieson and
Talwalkar 2016)."""
FEW, DRAWS = ROUNDS[0][0], 12
BLUR = 0.1
"""By how much of what is asked for a trial and a draw of the truth may well differ, each with luck of its own: some
minutes near an objective. An assumption, wide on purpose: it tells what holds from what breaks."""
FEWEST = 0.25
"""Of the draws, at least so many shall count (effective sample size, Kish 1965): where hardly one tells what was
measured, the twin's form may be wrong, and not the others."""

_Shares = NDArray[np.float64]
"""A draw's goodput, as a share of what is asked for; and a little of what comes too late."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A setting that was tried."""

    change: Change
    """From how the server is set when the twin is asked, every knob that is varied."""
    share: float
    """Goodput as it was measured, as a share of what was asked for."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the trials so far amount to."""

    best: Change
    """Of what was tried."""
    following: Change | None
    """What to try next; None where nothing is expected to be better."""


@dataclass(slots=True)
class _Option:
    """A setting, and what each draw tells of it so far."""

    change: Change
    server: Server
    told: list[float] = field(default_factory=list)

    def shares(self, forecaster: Forecaster, objectives: Sequence[Objective], draws: int) -> _Shares:
        """Of the first so many draws."""
        demand = forecaster.of.demand
        for turn in range(len(self.told), draws):
            run = forecaster.after(turn, self.server, demand)
            self.told.append(worth(run, objectives) / (demand.rate_per_s * demand.output.mean))
        return np.array(self.told[:draws])


def outlook(forecaster: Forecaster, objectives: Sequence[Objective], tried: Sequence[Tried]) -> Outlook:
    """Which setting is best, and which to try next.

    What is expected to be best is tried first; then what may well be better by one per cent of what is asked for.
    Raises `InvalidInput` for a trial of what the twin does not play.
    """
    server = forecaster.of.server
    known = [_Option(one.change, servers.changed(server, one.change)) for one in tried]
    told = [option.shares(forecaster, objectives, DRAWS) for option in known]
    measured = [one.share for one in tried]
    weights = weights_of(np.array(told) - np.array(measured)[:, None])
    near = [np.clip(shares, share - BLUR, share + BLUR) for shares, share in zip(told, measured, strict=True)]
    best, held = max(zip(known, near, strict=True), key=lambda one: float(np.average(one[1], weights=weights)))

    def promise(option: _Option, draws: int) -> tuple[bool, float]:
        """Whether it is expected to be the best, and by how much; else how much better it may be."""
        ahead = option.shares(forecaster, objectives, draws) - held[:draws]
        expected, gain = (float(np.average(each, weights=weights[:draws])) for each in (ahead, np.maximum(ahead, 0)))
        return expected > 0, expected if expected > 0 else gain

    done = [option.told[:FEW] for option in known]
    left = [option for option in _lattice(forecaster, objectives) if option.told not in done]
    for draws, most in ROUNDS:
        left = sorted(left, key=lambda option: promise(option, draws), reverse=True)[:most]
    promises = [(promise(option, DRAWS), option.change) for option in left]
    (first, by), following = max(promises, default=((False, 0.0), ()))
    return Outlook(best.change, following if first or by > TIE else None)


def weights_of(misses: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each draw counts, by what it tells wrong of each trial: a row per trial."""
    logs = -((misses / BLUR) ** 2).sum(axis=0) / 2
    logs -= logs.max()
    while (weights := np.exp(logs)).sum() ** 2 / (weights**2).sum() < FEWEST * len(logs):
        logs /= 2
    return np.asarray(weights)


def _lattice(forecaster: Forecaster, objectives: Sequence[Objective]) -> list[_Option]:
    """Powers of two of what runs at once and of a step's tokens, as far as they make a difference in a few draws.

    By Little's law so many tokens per second take at least so many seats; with a tenth less the queue grows for ever.
    """
    server, demand = forecaster.of.server, forecaster.of.demand
    knob = Knob.MAX_ACTIVE_SEQS if Knob.MAX_ACTIVE_SEQS in server.values else Knob.MAX_NUM_SEQS
    least = demand.rate_per_s * demand.output.mean * forecaster.of.fitted.fit.belief.step_time.base_s * 0.9
    rows: list[list[_Option]] = [[]]
    for tokens in powers(FEW_TOKENS, MANY_TOKENS):
        row: list[_Option] = []
        for seats in (seats for seats in powers(1, MANY_SEATS) if seats >= least):
            change = change_of({knob: seats, Knob.MAX_NUM_BATCHED_TOKENS: tokens})
            try:
                option = _Option(change, servers.changed(server, change))
            except InvalidInput:
                continue
            option.shares(forecaster, objectives, FEW)
            if row and option.told == row[-1].told:
                break
            row.append(option)
        if [option.told for option in row] == [option.told for option in rows[-1]]:
            break
        rows.append(row)
    return [option for row in rows for option in row]
