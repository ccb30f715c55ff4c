"""From endings of rollouts to error rates: how often an equal fleet is rolled back, and a harmful change promoted."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from perfagent.bench.fleets import EFFECTS
from perfagent.bench.incumbents import RULES
from perfagent.bench.interval import share
from perfagent.bench.judging import Ending
from perfagent.workflows.model import Phase


def rates(endings: Sequence[Ending]) -> dict[str, Any]:
    """As JSON-ready data: each kind of fleet, design and effect, and all kinds of a design together."""
    cells = list(dict.fromkeys(ending.cell for ending in endings))
    designs = list(dict.fromkeys(cell.design for cell in cells))
    return {
        "overall": [
            {"design": design.name, "effect": effect}
            | _of([each for each in endings if (each.cell.design, each.cell.effect) == (design, effect)])
            for design in designs
            for effect in EFFECTS
        ],
        "cells": [
            {"noise": cell.noise, "design": cell.design.name, "effect": cell.effect}
            | _of([each for each in endings if each.cell == cell])
            for cell in cells
        ],
    }


def _of(mine: Sequence[Ending]) -> dict[str, Any]:
    ended = {phase: sum(ending.phase is phase for ending in mine) for phase in Phase}
    watched = [ending for ending in mine if ending.incumbents]
    decided = [ending.minutes for ending in mine if ending.phase in (Phase.COMPLETED, Phase.ROLLED_BACK)]
    return {
        "rollouts": len(mine),
        "rolled_back": asdict(share(ended[Phase.ROLLED_BACK], len(mine))),
        "promoted": asdict(share(ended[Phase.COMPLETED], len(mine))),
        "held": asdict(share(ended[Phase.HELD], len(mine))),
        "refused": asdict(share(ended[Phase.FAILED], len(mine))),
        "minutes_median": median(decided) if decided else None,
        "incumbents_rolled_back": {
            rule: asdict(share(sum(ending.incumbents[rule] for ending in watched), len(watched))) for rule in RULES
        }
        if watched
        else {},
    }
