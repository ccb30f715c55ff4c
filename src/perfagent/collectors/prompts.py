"""Prompts that an operator brings, from a file."""

from pathlib import Path

from perfagent.domain.errors import InvalidInput
from perfagent.judge.quality import read_prompts


def prompts_in(path: Path) -> tuple[str, ...]:
    """The prompts of a file of JSON lines. Raises `InvalidInput`."""
    try:
        return read_prompts(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the prompts in {path} cannot be read: {error}") from error
