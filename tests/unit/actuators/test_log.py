from pathlib import Path

import pytest

from perfagent.actuators.process import log


def test_last_words_hold_the_reason_even_where_much_follows_it(tmp_path: Path) -> None:
    said = tmp_path / "chat.log"
    said.write_text("\n".join(["starting", "ValueError: too few blocks", *(f"frame {n}" for n in range(50))]))
    words = log.last_words(said)
    assert words.splitlines()[0] == "ValueError: too few blocks"
    assert words.endswith("frame 49")
    assert len(words.splitlines()) <= log.TAIL_LINES


def test_last_words_are_bounded_and_blot_secrets_out(tmp_path: Path) -> None:
    said = tmp_path / "chat.log"
    said.write_bytes(b"x" * 10**6 + b"\n\xff token hf_abcdef, short abc\n")
    words = log.last_words(said, ["hf_abcdef", "abc"])
    assert "hf_abcdef" not in words
    assert "short abc" in words
    assert len(words) <= log.TAIL_LINES * (log.LINE_CHARACTERS + 1)


def test_without_a_log_there_are_no_words(tmp_path: Path) -> None:
    assert log.last_words(tmp_path / "none.log") == ""


def test_a_log_stays_within_its_size_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MOST_BYTES", 100)
    said = tmp_path / "chat.log"
    with said.open("ab", buffering=0) as engine:
        engine.write(b"a" * 101)
        log.bound(said)
        engine.write(b"b")
    assert said.read_bytes() == b"b"
    assert log.before(said).read_bytes() == b"a" * 101


def test_a_start_keeps_the_log_before(tmp_path: Path) -> None:
    said = tmp_path / "logs" / "chat.log"
    log.fresh(said)
    said.write_text("one")
    log.fresh(said)
    assert not said.exists()
    assert log.before(said).read_text() == "one"
