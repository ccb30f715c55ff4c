"""What a killed process leaves behind, with real processes and a real file."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perfagent.store.database import open_database
from perfagent.store.journal import SqlJournal

APPENDER = """
import sys
from pathlib import Path
from perfagent.store.database import open_database
from perfagent.store.journal import SqlJournal

journal = SqlJournal(open_database(Path(sys.argv[1])))
seq = len(journal.events("r1"))
while True:
    journal.append("r1", seq, float(seq), "event", "x" * (seq % 5_000))
    print(seq, flush=True)
    seq += 1
"""


@contextmanager
def appender(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that appends for ever and says what it was told is durable."""
    with subprocess.Popen([sys.executable, "-c", APPENDER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_every_acknowledged_append_survives_a_kill_in_mid_append(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    for kill_after in (1, 40, 150, 300):
        with appender(path) as process:
            acknowledged = [next_line(process) for _ in range(kill_after)]
            os.kill(process.pid, signal.SIGKILL)
            assert process.stdout is not None
            # the last line may be cut only where it was being written: whole lines are acknowledgements
            acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
        with open_database(path) as database:
            found = SqlJournal(database).events("r1")
        assert [seq for seq, *_ in found] == list(range(len(found)))
        assert len(found) > acknowledged[-1]
        assert all(event == (n, float(n), "event", "x" * (n % 5_000)) for n, event in enumerate(found))
        raw = sqlite3.connect(path)
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        raw.close()


def test_a_second_process_reads_and_writes_while_the_first_does_and_after_its_kill(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with appender(path) as process, open_database(path) as database:
        journal = SqlJournal(database)
        seen = next_line(process)
        assert len(journal.events("r1")) > seen
        journal.append("r2", 0, 1.0, "event", "")
        seen = next_line(process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        journal.append("r2", 1, 2.0, "event", "")
        assert [seq for seq, *_ in journal.events("r2")] == [0, 1]
        assert len(journal.events("r1")) > seen
