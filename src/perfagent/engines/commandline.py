"""Where a command line says a knob, found the way the engine's own parser would find it.

Tokens of flags that are no knobs are passed over one by one; nothing is ever reordered or rewritten here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from perfagent.domain.knob import Knob, KnobValue
from perfagent.engines.spec import EngineSpec, KnobSpec, Option, Type
from perfagent.engines.values import parse


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One place where a knob is said."""

    knob: Knob
    option: Option
    at: int
    """Index of the flag's token."""
    width: int
    """1, or 2 where the value is a token of its own."""
    name: str
    """The flag as spelled here."""
    off: bool
    """The flag says false."""
    text: str | None
    """The value as spelled here; None for a flag without one."""
    value: KnobValue | None
    """What it means; None where that cannot be understood."""


class _Name(NamedTuple):
    knob: Knob
    option: Option
    off: bool
    """The flag says false."""


def occurrences(spec: EngineSpec, flags: Sequence[str]) -> tuple[Occurrence, ...]:
    """Every place where a knob is said, in order: later ones win."""
    return tuple(_scan(spec, flags))


def _scan(spec: EngineSpec, flags: Sequence[str]) -> Iterator[Occurrence]:
    names = _names(spec)
    at = 0
    while at < len(flags) and flags[at] != "--":
        name, equals, rest = flags[at].partition("=")
        found = _resolve(spec, names, name)
        if found is None:
            at += 1
            continue
        kind = spec.knobs[found.knob].type
        text, width = (rest, 1) if equals else _next(found.option, kind, flags[at + 1 : at + 2])
        yield Occurrence(found.knob, found.option, at, width, name, found.off, text, _meaning(found, kind, text))
        at += width


def _names(spec: EngineSpec) -> dict[str, _Name]:
    names: dict[str, _Name] = {}
    for knob, settings in spec.knobs.items():
        for option in settings.options:
            if option.flag is not None:
                names[option.flag] = _Name(knob, option, off=option.present_means is False)
            if option.off is not None:
                names[option.off] = _Name(knob, option, off=True)
    return names


def _resolve(spec: EngineSpec, names: dict[str, _Name], token: str) -> _Name | None:
    line = spec.command_line
    flag = token.replace("_", "-") if line.underscores and token.startswith("--") else token
    if flag in names or flag in line.others:
        return names.get(flag)
    if not line.prefixes or not flag.startswith("--") or len(flag) < 4:
        return None
    begin_so = [name for name in (*names, *line.others) if name.startswith(flag)]
    return names.get(begin_so[0]) if len(begin_so) == 1 else None


def _next(option: Option, kind: Type, following: Sequence[str]) -> tuple[str | None, int]:
    """The value after a flag without `=`, and how many tokens both take."""
    if not following or option.present_means is not None:
        return None, 1
    if kind is Type.SWITCH:
        # older vLLM took `--enable-chunked-prefill False`
        return (following[0], 2) if following[0].lower() in ("true", "false") else (None, 1)
    return (None, 1) if following[0].startswith("--") else (following[0], 2)


def _meaning(found: _Name, kind: Type, text: str | None) -> KnobValue | None:
    if kind is Type.SWITCH:
        said = True if text is None else parse(kind, text)
        return said if not isinstance(said, bool) else said is not found.off
    return None if text is None else parse(kind, text)


def said_in_env(settings: KnobSpec, env: Sequence[tuple[str, str]]) -> str | None:
    """The text of the knob's environment variable, or None where none of them is set."""
    names = {option.env for option in settings.options if option.env is not None}
    return next((text for name, text in reversed(env) if name in names), None)
