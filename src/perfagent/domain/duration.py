"""Durations as people write them."""

import re

from perfagent.domain.errors import InvalidInput

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds(text: str) -> float:
    """`90`, `90s`, `1.5m`, `500ms`, `1d` → seconds. Raises `InvalidInput`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", text.strip(), re.ASCII)
    if match is None:
        raise InvalidInput(f"{text!r} is no duration; write 90s, 1.5m, 1h or 500ms")
    return float(match[1]) * _UNITS[match[2] or "s"]


def duration(seconds: float) -> str:
    """The same the other way round, in the largest unit that leaves a whole number: 5400 → `90m`."""
    whole = next((unit for unit in reversed(_UNITS) if seconds and seconds % _UNITS[unit] == 0), "s")
    return f"{seconds / _UNITS[whole]:.15g}{whole}"
