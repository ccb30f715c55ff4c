"""How a replica that somebody has changed runs, and how it should, in words."""

from collections.abc import Mapping, Sequence

from perfagent.domain.knob import Knob, KnobValue, LaunchConfig, Source
from perfagent.engines import effective

_Options = Mapping[str, tuple[str, ...]]


def differing(engine: str, release: str | None, found: LaunchConfig, wanted: LaunchConfig) -> str:
    """Knob by knob what it runs with in place of what it should, and which options and variables that is.

    What is no knob is named without its value, which may be a secret.
    """
    now, then = (_knobs(engine, release, launch) for launch in (found, wanted))
    knobs = [
        f"{knob} is {now.get(knob, 'not set')}, not {then.get(knob, 'left out')}"
        for knob in Knob
        if now.get(knob) != then.get(knob)
    ]
    names = [*_unlike(_options(found.flags), _options(wanted.flags)), *_unlike(_variables(found), _variables(wanted))]
    others = f"differing: {', '.join(names)}" if names else "its options are in another order"
    return f"{', '.join(knobs)}; {others}" if knobs else others


def _knobs(engine: str, release: str | None, launch: LaunchConfig) -> dict[Knob, KnobValue]:
    """What the launch itself says; not the release's defaults."""
    known = effective(engine, launch, {}, {}, release).settings
    return {knob: setting.value for knob, setting in known.items() if setting.source is Source.FLAG}


def _options(flags: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Each option with everything that is said to it, in order."""
    told: dict[str, tuple[str, ...]] = {}
    name = ""
    for token in flags:
        name, equals, text = token.partition("=") if token.startswith("-") else (name, "=", token)
        told[name] = (*told.get(name, ()), *([text] if equals else []))
    return told


def _variables(launch: LaunchConfig) -> dict[str, tuple[str, ...]]:
    return {name: (value,) for name, value in launch.env}


def _unlike(found: _Options, wanted: _Options) -> list[str]:
    return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
