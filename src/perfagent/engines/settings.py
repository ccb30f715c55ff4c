"""How a server is set: what it tells itself, then what it was started with, then its release's defaults."""

from collections.abc import Mapping
from dataclasses import replace

from perfagent.domain.knob import EffectiveConfig, Knob, KnobValue, LaunchConfig, Setting, Source
from perfagent.engines import release as releases
from perfagent.engines.commandline import occurrences, said_in_env
from perfagent.engines.spec import EngineSpec, Type
from perfagent.engines.values import fits, parse


def effective(
    spec: EngineSpec,
    launch: LaunchConfig,
    info: Mapping[str, str],
    answers: Mapping[str, object],
    release: str | None,
) -> EffectiveConfig:
    """The configuration in force as far as it can be known.

    A knob is absent where nothing tells, and where a flag says something that we do not understand: its default is
    then certainly not in force. With a configuration file on the command line no default is assumed either.
    """
    version = releases.known(spec.version(answers)) or releases.known(release)
    settings = {} if _has_file(spec, launch) else _defaults(spec, version)
    for knob, value in _said(spec, launch).items():
        if value is None:
            settings.pop(knob, None)
        else:
            settings[knob] = Setting(value, Source.FLAG)
    for knob, told in spec.read_back(info, answers).items():
        value = _typed(spec, knob, told)
        if value is not None:
            settings[knob] = Setting(value, Source.READ_BACK)
    settings |= _stood_for(spec, settings)
    known = {knob: settings[knob] for knob in Knob if knob in settings}
    return EffectiveConfig(known, version, _at_least(spec, launch, known))


def after(config: EffectiveConfig, change: Mapping[Knob, KnobValue]) -> EffectiveConfig:
    """The configuration as it would be with these knobs set by flags."""
    changed = {knob: Setting(value, Source.FLAG) for knob, value in change.items()}
    return replace(config, settings={**config.settings, **changed})


def _defaults(spec: EngineSpec, release: str | None) -> dict[Knob, Setting]:
    values = {knob: releases.pick(release, settings.defaults) for knob, settings in spec.knobs.items()}
    return {knob: Setting(value, Source.DEFAULT) for knob, value in values.items() if value is not None}


def _at_least(spec: EngineSpec, launch: LaunchConfig, known: Mapping[Knob, Setting]) -> dict[Knob, float]:
    """What unknown settings are not below. Without any flag told, nobody knows that they are at their defaults."""
    if not (launch.flags or launch.env) or _has_file(spec, launch):
        return {}
    said = _said(spec, launch)
    return {
        knob: settings.least_default
        for knob, settings in spec.knobs.items()
        if settings.least_default is not None and knob not in known and knob not in said
    }


def _said(spec: EngineSpec, launch: LaunchConfig) -> dict[Knob, KnobValue | None]:
    """What the command line says, and where it says nothing the environment; None for what is not understood."""
    said: dict[Knob, KnobValue | None] = {}
    for knob, settings in spec.knobs.items():
        text = said_in_env(settings, launch.env)
        if text is not None:
            said[knob] = parse(settings.type, text)
    for place in occurrences(spec, launch.flags):
        said[place.knob] = place.value
    return said


def _has_file(spec: EngineSpec, launch: LaunchConfig) -> bool:
    file = spec.command_line.file
    return file is not None and any(flag.partition("=")[0] == file for flag in launch.flags)


def _stood_for(spec: EngineSpec, settings: dict[Knob, Setting]) -> dict[Knob, Setting]:
    """What values that are no figures say of other knobs; those values are taken out."""
    found: dict[Knob, Setting] = {}
    for knob in spec.knobs.keys() & settings.keys():
        change = spec.knobs[knob].stands_for.get(settings[knob].value)
        if change is not None:
            source = settings.pop(knob).source
            found |= {other: Setting(value, source) for other, value in change}
    return found


def _typed(spec: EngineSpec, knob: Knob, value: KnobValue) -> KnobValue | None:
    """An answer's value in the knob's type; None where it is something else. Knobs that cannot be set may be told."""
    settings = spec.knobs.get(knob)
    if settings is None:
        return value
    if not fits(settings.type, value):
        return None
    return float(value) if settings.type is Type.NUMBER else value
