"""Findings over time → incidents: pending, firing, resolved.

A finding is the word of one window. It is believed when it was there at several looks in a row, and believed gone when
it was not there for longer: what comes and goes at every look shall not call anybody twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from perfagent.domain.finding import Cause, Finding
from perfagent.domain.incident import Incident, Stage


@dataclass(frozen=True, slots=True)
class Hold:
    """How long to wait before believing. Times in seconds."""

    fire_after_s: float = 150.0
    """Half a live window: by then most of what is looked at is new, so what was passing has left or is seen to pass."""
    fire_looks: int = 3
    """One look may be led astray by one scrape, two by one that two windows share."""
    clear_after_s: float = 120.0
    """Several looks: to be called again for the same thing is worse than to be told late that it is over."""
    keep_s: float = 24 * 3600.0
    """How long what is resolved can still be read."""


HOLD = Hold()


def advance(
    known: Mapping[Cause, Incident], findings: Iterable[Finding], now_s: float, hold: Hold = HOLD
) -> dict[Cause, Incident]:
    """The incidents after one more look; looks that could not be taken are simply not told of."""
    seen = {finding.cause: finding for finding in findings}
    turned = {cause: _seen(known.get(cause), finding, now_s, hold) for cause, finding in seen.items()}
    unseen = (_unseen(incident, now_s, hold) for cause, incident in known.items() if cause not in seen)
    return turned | {incident.cause: incident for incident in unseen if incident is not None}


def _seen(known: Incident | None, finding: Finding, now_s: float, hold: Hold) -> Incident:
    if known is None or known.stage is Stage.RESOLVED:
        return Incident(Stage.PENDING, finding, now_s, now_s, 1)
    again = replace(known, finding=finding, seen_s=now_s, looks=known.looks + 1)
    if again.stage is Stage.PENDING and again.looks >= hold.fire_looks and now_s - again.since_s >= hold.fire_after_s:
        return replace(again, stage=Stage.FIRING, fired_s=now_s)
    return again


def _unseen(known: Incident, now_s: float, hold: Hold) -> Incident | None:
    if known.stage is Stage.FIRING:
        gone = now_s - known.seen_s >= hold.clear_after_s
        return replace(known, stage=Stage.RESOLVED, resolved_s=now_s) if gone else replace(known, looks=0)
    if known.stage is Stage.RESOLVED and known.resolved_s is not None and now_s - known.resolved_s < hold.keep_s:
        return known
    return None
