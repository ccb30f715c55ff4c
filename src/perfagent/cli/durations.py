"""Durations as people type them on the command line."""

import typer

from perfagent.domain import duration
from perfagent.domain.errors import InvalidInput


def seconds(text: str) -> float:
    """`90`, `90s`, `1.5m`, `500ms` → seconds. Raises `typer.BadParameter`."""
    try:
        return duration.seconds(text)
    except InvalidInput as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
