"""Settings' values: read from a command line, an environment or an answer, checked for their type, written back."""

import re

from perfagent.domain.knob import MOST, KnobValue
from perfagent.engines.spec import Type

_HUMAN = re.compile(r"(\d+(?:\.\d+)?)([kmgtKMGT])")
_SIZES = {"k": 1, "m": 2, "g": 3, "t": 4}
_SWITCHES = {"true": True, "1": True, "false": False, "0": False}


def parse(kind: Type, text: str) -> KnobValue | None:
    """A value from its text; None where the text is none of this type (so the setting is not known)."""
    match kind:
        case Type.WHOLE:
            return _whole(text)
        case Type.TOKENS:
            return _human(text)
        case Type.NUMBER:
            return _number(text)
        case Type.SWITCH:
            return _SWITCHES.get(text.strip().lower())
        case Type.TEXT:
            return text.strip() or None


def fits(kind: Type, value: KnobValue) -> bool:
    """Whether a value is of a type. `True` is no number, and a number has at most 64 bits."""
    match kind:
        case Type.WHOLE | Type.TOKENS:
            return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST
        case Type.NUMBER:
            return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MOST
        case Type.SWITCH:
            return isinstance(value, bool)
        case Type.TEXT:
            return isinstance(value, str)


def write(value: KnobValue) -> str:
    """A value as every engine's parser reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _whole(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if abs(number) <= MOST else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= MOST else None


def _human(text: str) -> int | None:
    """A whole number, also as 25.6k (thousands) or 1K (1024s, whole only).

    Source: `human_readable_int` in vLLM's `vllm/utils/argparse_utils.py`.
    """
    match = _HUMAN.fullmatch(text.strip())
    if match is None:
        return _whole(text)
    amount, unit = match.groups()
    base = _number(amount) if unit.islower() else _whole(amount)
    if base is None:
        return None
    number = base * (1000 if unit.islower() else 1024) ** _SIZES[unit.lower()]
    return int(number) if number <= MOST else None
