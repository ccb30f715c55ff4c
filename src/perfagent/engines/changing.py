"""A change written into a launch configuration, surgically: what does not say the knob stays byte for byte.

Where a knob is said already, every place that says it is edited in the way it is written there; elsewhere it is
appended in the newest spelling of the release that will run it.
"""

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Change, Knob, KnobValue, LaunchConfig
from perfagent.engines.commandline import Occurrence, occurrences
from perfagent.engines.release import within
from perfagent.engines.spec import EngineSpec, KnobSpec, Option, Type
from perfagent.engines.values import parse, write

_Env = tuple[tuple[str, str], ...]


def render(spec: EngineSpec, launch: LaunchConfig, change: Change, release: str | None) -> LaunchConfig:
    """The launch configuration with the knobs changed. Doing it twice is doing it once.

    Raises `InvalidInput` for a knob that the engine's release does not have; values are not checked here.
    """
    for knob, value in change:
        launch = _with(spec, launch, knob, value, release)
    return launch


def spell(spec: EngineSpec, change: Change, release: str | None) -> tuple[str, ...]:
    """The change as a person would type it: flags, `NAME=value` for the environment, `without --flag` to leave away."""
    return tuple(_spelled(spec, knob, value, release) for knob, value in change)


def writable(spec: EngineSpec, knob: Knob, release: str | None) -> tuple[KnobSpec, Option]:
    """How the knob is written at a release; raises `InvalidInput` where the engine or the release lacks it."""
    settings = spec.knobs.get(knob)
    if settings is None:
        raise InvalidInput(f"{spec.name} has no {knob}" + (f": {spec.lacks[knob]}" if knob in spec.lacks else ""))
    option = settings.written(release)
    if option is None:
        raise InvalidInput(f"{spec.name} {release or spec.newest} has no {knob}: {_span(settings, release)}")
    return settings, option


def _span(settings: KnobSpec, release: str | None) -> str:
    newest, oldest = settings.options[0], settings.options[-1]
    if not within(release, None, newest.until):
        return f"the last release with {newest.flag or newest.env} was {newest.until}"
    return f"{oldest.flag or oldest.env} came with {oldest.since}"


def _with(spec: EngineSpec, launch: LaunchConfig, knob: Knob, value: KnobValue, release: str | None) -> LaunchConfig:
    settings, option = writable(spec, knob, release)
    places = [place for place in occurrences(spec, launch.flags) if place.knob is knob]
    names = {choice.env for choice in settings.options} - {None}
    if _is_absence(settings, option, value):
        return LaunchConfig(_without(launch.flags, places), tuple(pair for pair in launch.env if pair[0] not in names))
    if places:
        return LaunchConfig(_edited(launch.flags, places, value), launch.env)
    if any(name in names for name, _ in launch.env):
        return LaunchConfig(launch.flags, _env_edited(launch.env, settings.type, names, value))
    if option.flag is None:
        return LaunchConfig(launch.flags, (*launch.env, (str(option.env), _for_env(value))))
    return LaunchConfig(_appended(launch.flags, _tokens(option, value)), launch.env)


def _is_absence(settings: KnobSpec, option: Option, value: KnobValue) -> bool:
    if settings.unset is not None and value == settings.unset:
        return True
    return option.present_means is not None and value is not option.present_means


def _without(flags: tuple[str, ...], places: list[Occurrence]) -> tuple[str, ...]:
    gone = {at for place in places for at in range(place.at, place.at + place.width)}
    return tuple(token for at, token in enumerate(flags) if at not in gone)


def _edited(flags: tuple[str, ...], places: list[Occurrence], value: KnobValue) -> tuple[str, ...]:
    edits: dict[int, str] = {}
    for place in places:
        if place.value == value and type(place.value) is type(value):
            continue
        if place.option.off is not None and place.text is None:
            edits[place.at] = str(place.option.flag if value else place.option.off)
        elif place.width == 2:
            edits[place.at + 1] = _beside(place, value)
        else:
            edits[place.at] = f"{place.name}={_beside(place, value)}"
    return tuple(edits.get(at, token) for at, token in enumerate(flags))


def _beside(place: Occurrence, value: KnobValue) -> str:
    """The value as it must stand beside the flag there: the other way round beside one that says no."""
    return write(not value if place.off else value)


def _env_edited(env: _Env, kind: Type, names: set[str | None], value: KnobValue) -> _Env:
    return tuple(
        (name, _for_env(value)) if name in names and parse(kind, text) != value else (name, text) for name, text in env
    )


def _for_env(value: KnobValue) -> str:
    return str(int(value)) if isinstance(value, bool) else write(value)


def _tokens(option: Option, value: KnobValue) -> tuple[str, str | None]:
    flag = str(option.flag)
    if option.present_means is not None:
        return flag, None
    if option.off is not None:
        return (flag if value else option.off), None
    return flag, write(value)


def _appended(flags: tuple[str, ...], said: tuple[str, str | None]) -> tuple[str, ...]:
    """At the end (before a lone `--`), in the style of the others: `--a=b` unless they are written `--a b`."""
    flag, text = said
    end = flags.index("--") if "--" in flags else len(flags)
    apart = end > 0 and not any(token.startswith("-") and "=" in token for token in flags[:end])
    new = (flag,) if text is None else (flag, text) if apart else (f"{flag}={text}",)
    return (*flags[:end], *new, *flags[end:])


def _spelled(spec: EngineSpec, knob: Knob, value: KnobValue, release: str | None) -> str:
    settings, option = writable(spec, knob, release)
    if _is_absence(settings, option, value):
        return f"without {option.flag or option.env}"
    if option.flag is None:
        return f"{option.env}={_for_env(value)}"
    flag, text = _tokens(option, value)
    return flag if text is None else f"{flag}={text}"
