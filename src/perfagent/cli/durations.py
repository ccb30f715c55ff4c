"""Durations as people type them."""

import re

import typer

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """`90`, `90s`, `1.5m`, `500ms` → seconds. Raises `typer.BadParameter`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration; write 90s, 1.5m or 500ms")
    return float(match[1]) * _UNITS[match[2] or "s"]
