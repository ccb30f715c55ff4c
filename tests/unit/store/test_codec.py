import json
import zlib
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.errors import StoreFailed
from perfagent.domain.histogram import Histogram
from perfagent.domain.metric import Metric
from perfagent.domain.service import Service
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.store.codec import (
    SERVICE_CODEC,
    SNAPSHOT_CODEC,
    decode_service,
    decode_snapshot,
    encode_service,
    encode_snapshot,
)
from support.records import services, snapshots


@given(snapshots())
def test_a_snapshot_comes_back_exactly(snapshot: Snapshot) -> None:
    # repr, because NaN is unlike itself and -0.0 equals 0.0
    assert repr(decode_snapshot(SNAPSHOT_CODEC, encode_snapshot(snapshot))) == repr(snapshot)


def test_a_snapshot_with_every_awkward_value_comes_back_exactly() -> None:
    snapshot = Snapshot(
        "chat-0",
        "vllm",
        1_800_000_000.123456,
        scalars={Metric.KV_USAGE: {(("engine", "0"), ("model", 'a"\\\n,é')): nan, (): -0.0, (("le", "+Inf"),): -inf}},
        histograms={
            Metric.TTFT: {(): Histogram((inf,), (0.0,), 0.0), (("a", ""),): Histogram((0.1, inf), (1, 3), 0.7)}
        },
        started_at_s=5e-324,
    )
    assert repr(decode_snapshot(SNAPSHOT_CODEC, encode_snapshot(snapshot))) == repr(snapshot)


@given(services())
def test_a_service_comes_back_exactly(service: Service) -> None:
    assert repr(decode_service(SERVICE_CODEC, encode_service(service))) == repr(service)


@given(st.binary())
def test_damaged_bytes_are_no_snapshot_and_say_so(body: bytes) -> None:
    for damaged in (body, zlib.compress(body)):
        with pytest.raises(StoreFailed, match="unreadable snapshot"):
            decode_snapshot(SNAPSHOT_CODEC, damaged)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at_s", ...),  # gone
        ("scalars", [1]),
        ("scalars", {"no_such_metric": []}),
        ("histograms", {"ttft_s": [[[], [2.0, 1.0], [0.0, 0.0, 0.0], 0.0]]}),  # edges do not rise
        ("histograms", {"ttft_s": [[[], [1.0]]]}),
    ],
)
def test_json_that_is_no_snapshot_is_refused(field: str, value: object) -> None:
    fields = json.loads(zlib.decompress(encode_snapshot(Snapshot("chat-0", "vllm", 1.0))))
    fields |= {field: value}
    if value is ...:
        del fields[field]
    with pytest.raises(StoreFailed, match="unreadable snapshot"):
        decode_snapshot(SNAPSHOT_CODEC, zlib.compress(json.dumps(fields).encode()))


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"id": "a", "engine": "vllm", "targets": [3]}'])
def test_a_damaged_service_is_refused(body: str) -> None:
    with pytest.raises(StoreFailed, match="unreadable service"):
        decode_service(SERVICE_CODEC, body)


def test_a_share_that_cannot_be_makes_a_service_unreadable() -> None:
    body = encode_service(Service("a", "vllm", (Target("a-0", "http://a"),))).replace('"percent": 10}', '"percent": 0}')
    with pytest.raises(StoreFailed, match="between 1 and 100"):
        decode_service(SERVICE_CODEC, body)


def test_a_codec_of_a_later_release_is_refused() -> None:
    with pytest.raises(StoreFailed, match="codec 99"):
        decode_snapshot(99, encode_snapshot(Snapshot("chat-0", "vllm", 1.0)))
    with pytest.raises(StoreFailed, match="codec 99"):
        decode_service(99, encode_service(Service("a", "vllm", ())))
