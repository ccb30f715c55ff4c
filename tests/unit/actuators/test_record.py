from pathlib import Path

import pytest

from perfagent.actuators.process.proc import Identity
from perfagent.actuators.process.record import Life, Record, Records
from perfagent.domain.errors import ActuatorFailed
from perfagent.domain.knob import LaunchConfig

LAUNCH = LaunchConfig(("--a", ""), (("A", "b"),))
LIFE = Life(Identity(12, 345, "boot"), LAUNCH, ordered=True, served=True)


def test_what_is_saved_is_loaded_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    records = Records(tmp_path / "processes")
    assert records.load("chat-1") is None
    record = Record(LAUNCH, LIFE, (1.5, 2.5), "it died", failed_to_start=True)
    records.save("chat-1", record)
    assert records.load("chat-1") == record
    assert {path.stat().st_mode & 0o077 for path in (records.folder, *records.folder.iterdir())} == {0}


@pytest.mark.parametrize("content", [b"", b"{", b'{"wanted": 3}', b"\xff"])
def test_a_record_that_cannot_be_read_is_never_taken_for_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "chat-1.json").write_bytes(content)
    with pytest.raises(ActuatorFailed, match="cannot be read"):
        Records(tmp_path).load("chat-1")


def test_a_record_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ActuatorFailed, match="cannot be written"):
        Records(tmp_path / "file").save("chat-1", Record(LAUNCH))


def test_what_answers_after_it_failed_to_start_has_nothing_against_it_any_more() -> None:
    failed = Record(LAUNCH, LIFE, (1.0, 2.0), "it died", failed_to_start=True)
    assert failed.answered() == Record(LAUNCH, LIFE)
    died = Record(LAUNCH, LIFE, (1.0, 2.0), "it died")
    assert died.answered() == Record(LAUNCH, LIFE, (1.0, 2.0))


def test_something_else_wanted_has_not_failed_yet() -> None:
    failed = Record(LAUNCH, LIFE, (1.0,), "it died", failed_to_start=True)
    assert failed.changed(LaunchConfig()) == Record(LaunchConfig(), LIFE)
