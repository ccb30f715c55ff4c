"""Snapshots and services as bytes and text, and back, exactly.

Every encoding carries a version number beside it, so that a later release can tell what it reads. Snapshots are many
and have mappings keyed by label sets, hence an explicit, compressed form; services are few and grow new fields, hence
one derived from their types. JSON here is Python's: it writes NaN and infinities, and every float comes back as it was.
"""

import json
import zlib
from collections.abc import Mapping
from math import inf
from typing import Any

from pydantic import TypeAdapter, ValidationError

from perfagent.domain.errors import InvalidInput, StoreFailed
from perfagent.domain.histogram import Histogram
from perfagent.domain.metric import Metric
from perfagent.domain.service import Service
from perfagent.domain.snapshot import Labels, Snapshot

SNAPSHOT_CODEC = 1
SERVICE_CODEC = 1

_FAST = 1
"""The quickest zlib level. The usual one (6) makes a vLLM snapshot a tenth smaller in twice the time."""

_SERVICE = TypeAdapter(Service)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The snapshot in `SNAPSHOT_CODEC`."""
    fields = {
        "target": snapshot.target,
        "engine": snapshot.engine,
        "at_s": snapshot.at_s,
        "scalars": {metric: list(series.items()) for metric, series in snapshot.scalars.items()},
        "histograms": {
            # the last edge is always +Inf
            metric: [(labels, h.edges[:-1], h.cumulative, h.total) for labels, h in series.items()]
            for metric, series in snapshot.histograms.items()
        },
        "info": dict(snapshot.info),
        "started_at_s": snapshot.started_at_s,
    }
    return zlib.compress(json.dumps(fields, separators=(",", ":")).encode(), _FAST)


def decode_snapshot(codec: int, body: bytes) -> Snapshot:
    """What was encoded. Raises `StoreFailed` for another codec or damaged bytes."""
    if codec != SNAPSHOT_CODEC:
        raise StoreFailed(f"a snapshot in codec {codec}, which this release does not know")
    try:
        return _snapshot(json.loads(zlib.decompress(body)))
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError, InvalidInput) as error:
        raise StoreFailed(f"an unreadable snapshot: {error}") from error


def encode_service(service: Service) -> str:
    """The service in `SERVICE_CODEC`."""
    return json.dumps(_SERVICE.dump_python(service))


def decode_service(codec: int, body: str) -> Service:
    """What was encoded. Raises `StoreFailed` for another codec or a damaged text."""
    if codec != SERVICE_CODEC:
        raise StoreFailed(f"a service in codec {codec}, which this release does not know")
    try:
        return _SERVICE.validate_python(json.loads(body))
    except (ValueError, ValidationError, InvalidInput) as error:
        raise StoreFailed(f"an unreadable service: {error}") from error


def _snapshot(fields: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        target=fields["target"],
        engine=fields["engine"],
        at_s=fields["at_s"],
        scalars={
            Metric(metric): {_labels(labels): value for labels, value in series}
            for metric, series in fields["scalars"].items()
        },
        histograms={
            Metric(metric): {
                _labels(labels): Histogram((*edges, inf), tuple(cumulative), total)
                for labels, edges, cumulative, total in series
            }
            for metric, series in fields["histograms"].items()
        },
        info=fields["info"],
        started_at_s=fields["started_at_s"],
    )


def _labels(pairs: list[list[str]]) -> Labels:
    return tuple((name, value) for name, value in pairs)
