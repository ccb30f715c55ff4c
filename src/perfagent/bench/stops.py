"""From endings of rollouts to what matters: was harm stopped at the first stage, and was anything left half done?"""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from perfagent.bench.changes import KINDS, Truth
from perfagent.bench.interval import share
from perfagent.bench.rollouts import End, Ending

GOAL_ROLLED_BACK = 0.05
"""Of good changes, at most. All harmful ones should be stopped at the first stage."""


def stops(endings: Sequence[Ending]) -> dict[str, Any]:
    """As JSON-ready data: each truth, each kind of change, and what must never happen."""
    return {
        "truths": [{"truth": truth.value} | _of([e for e in endings if e.truth is truth]) for truth in Truth],
        "kinds": [
            {"kind": kind.name, "truth": kind.truth.value} | _of([e for e in endings if e.kind == kind.name])
            for kind in KINDS
        ],
        "deaths": sum(ending.deaths for ending in endings),
        "half_applied": sum(ending.half_applied > 0 for ending in endings),
        "broken": sorted({each for ending in endings for each in ending.broken}),
    }


def _of(mine: Sequence[Ending]) -> dict[str, Any]:
    begun = [ending for ending in mine if ending.end is not End.REFUSED]
    ended = {end: [ending for ending in begun if ending.end is end] for end in End}
    undone = (End.ROLLED_BACK, End.HELD)
    return {
        "rollouts": len(mine),
        "refused": len(mine) - len(begun),
        **{end.value: asdict(share(len(ended[end]), len(begun))) for end in (*undone, End.PROMOTED)},
        **{f"{end.value}_at": _stages(ended[end]) for end in undone},
        "stopped_first": asdict(share(sum(e.end in undone and not e.widened for e in begun), len(begun))),
        "minutes_median": median(e.minutes for e in begun) if begun else None,
        "changed_min_median": median(e.changed_min for e in begun) if begun else None,
        "changed_min_most": max((e.changed_min for e in begun), default=None),
    }


def _stages(ended: Sequence[Ending]) -> dict[str, int]:
    """How many at each stage, in percent of the fleet."""
    return {str(percent): sum(e.percent == percent for e in ended) for percent in sorted({e.percent for e in ended})}
