"""What an engine said: kept in two files, of bounded size while an agent acts, and its last words for people."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

MOST_BYTES = 16 * 2**20
"""Of each of the two files. An assumption: a start of vLLM writes some 20 kB, so this holds days of complaints."""
TAIL_BYTES = 64 * 2**10
TAIL_LINES = 12
LINE_CHARACTERS = 200
LEAST_SECRET = 6
"""Characters from which on a secret is blotted out of last words; shorter ones would hide half of the text."""
_TROUBLE = ("error", "exception", "failed", "not recognized", "unrecognized")


def before(log: Path) -> Path:
    """Where what no longer fitted went."""
    return log.with_suffix(".log.1")


def fresh(log: Path) -> None:
    """Begin a new file: the one before is kept beside it. Raises `OSError`."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        log.replace(before(log))


def bound(log: Path) -> None:
    """Keep the file within its size while the engine goes on writing to its end; what is written in between is lost."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > MOST_BYTES:
            shutil.copyfile(log, before(log))
            os.truncate(log, 0)


def last_words(log: Path, secrets: Sequence[str] = ()) -> str:
    """The end of the log, and lines before it that look like the reason, secrets blotted out; empty without a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    for secret in secrets:
        if len(secret) >= LEAST_SECRET:
            text = text.replace(secret, "***")
    lines = [line.rstrip()[-LINE_CHARACTERS:] for line in text.splitlines() if line.strip()]
    split = max(0, len(lines) - TAIL_LINES // 2)
    telling = [line for line in lines[:split] if any(word in line.lower() for word in _TROUBLE)]
    return "\n".join((*telling[-TAIL_LINES // 2 :], *lines[split:]))
