"""What our records cost over plain `sqlite3` doing the same writes with the same durability, side by side."""

import sqlite3
from collections.abc import Callable
from itertools import count
from math import inf
from pathlib import Path
from statistics import median
from time import perf_counter

from perfagent.domain.histogram import Histogram
from perfagent.domain.metric import Kind, Metric
from perfagent.domain.snapshot import Snapshot
from perfagent.store.codec import encode_snapshot
from perfagent.store.database import open_database
from perfagent.store.history import SqlHistory
from perfagent.store.journal import SqlJournal

LABELS = (("engine", "0"), ("model_name", "meta-llama/Llama-3.1-8B-Instruct"))
EDGES = (*(0.001 * 1.6**n for n in range(20)), inf)


def page(target: str, at_s: float) -> Snapshot:
    """As much as a vLLM page carries of what we read: every metric once, histograms of 21 buckets."""
    grown = tuple(float(n * n) * (at_s % 97) for n in range(len(EDGES)))
    return Snapshot(
        target,
        "vllm",
        at_s,
        scalars={m: {LABELS: at_s * 3.7} for m in Metric if m.kind is not Kind.HISTOGRAM},
        histograms={m: {LABELS: Histogram(EDGES, grown, at_s / 7)} for m in Metric if m.kind is Kind.HISTOGRAM},
    )


def compare(plain: Callable[[], object], ours: Callable[[], object], times: int) -> tuple[float, float]:
    """Median seconds of each, taken in turn so that a busy machine slows both."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(times):
        for seconds, action in zip(spent, (plain, ours), strict=True):
            start = perf_counter()
            action()
            seconds.append(perf_counter() - start)
    return median(spent[0]), median(spent[1])


def raw(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, r TEXT, seq, at, kind, body, UNIQUE (r, seq))")
    connection.execute("CREATE TABLE snapshots (target TEXT, at REAL, codec, body BLOB, PRIMARY KEY (target, at))")
    connection.execute("CREATE INDEX by_age ON snapshots (at)")
    return connection


def test_an_append_costs_little_more_than_a_plain_insert_with_the_same_durability(tmp_path: Path) -> None:
    body = '{"x": "' + "x" * 500 + '"}'
    connection = raw(tmp_path / "raw.db")
    with open_database(tmp_path / "agent.db") as database:
        journal, seqs, our_seqs = SqlJournal(database), count(), count()

        def plain() -> None:
            connection.execute("INSERT INTO events VALUES (NULL, 'r1', ?, 1.5, 'event', ?)", (next(seqs), body))

        plain_s, ours_s = compare(plain, lambda: journal.append("r1", next(our_seqs), 1.5, "event", body), 500)
    connection.close()
    print(f"\nappend: {ours_s * 1e6:.0f} µs, plain insert {plain_s * 1e6:.0f} µs, ratio {ours_s / plain_s:.2f}")
    assert ours_s < 6 * plain_s


def test_keeping_a_hundred_snapshots_costs_mostly_their_encoding(tmp_path: Path) -> None:
    batches = [[page(f"replica-{n}", 15.0 * tick) for n in range(100)] for tick in range(1, 31)]
    theirs, our = iter(batches), iter(batches)
    connection = raw(tmp_path / "raw.db")
    with open_database(tmp_path / "agent.db") as database:
        history = SqlHistory(database)

        def plain() -> None:
            rows = [(s.target, s.at_s, 1, encode_snapshot(s)) for s in next(theirs)]
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO snapshots VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")

        plain_s, ours_s = compare(plain, lambda: history.add(next(our)), len(batches))
        history.since("replica-7", 0.0)
        start = perf_counter()
        found = history.since("replica-7", 0.0)
        each_s = (perf_counter() - start) / len(found)
    connection.close()
    print(
        f"\nadd of 100: {ours_s * 1e3:.1f} ms, encoding and plain insert {plain_s * 1e3:.1f} ms, "
        f"ratio {ours_s / plain_s:.2f}; {len(encode_snapshot(batches[0][7]))} bytes each, "
        f"read back in {each_s * 1e6:.0f} µs each"
    )
    assert len(found) == len(batches)
    assert ours_s < 2 * plain_s
