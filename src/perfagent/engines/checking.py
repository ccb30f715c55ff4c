"""Whether a change can be meant: the release has the knobs, the values are legal and safe, and they go together."""

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Change, EffectiveConfig, Knob, KnobValue
from perfagent.engines import release as releases
from perfagent.engines.changing import writable
from perfagent.engines.settings import after
from perfagent.engines.spec import EngineSpec, KnobSpec, Type
from perfagent.engines.values import fits


def check(spec: EngineSpec, change: Change, config: EffectiveConfig) -> None:
    """Raises `InvalidInput` with the reason where the change must not be made.

    An unknown release is judged as the newest. Rules between settings apply as far as the settings are known.
    """
    release = releases.known(config.release)
    for knob, value in change:
        settings, _ = writable(spec, knob, release)
        reason = _wrong_value(settings, value, release)
        if reason is not None:
            raise InvalidInput(f"{knob}={value!r} cannot be set on {spec.name}: {reason}")
    changed = frozenset(knob for knob, _ in change)
    then = after(config, dict(change))
    for rule in spec.rules:
        if rule.knobs & changed:
            reason = rule.broken(then, changed)
            if reason is not None:
                raise InvalidInput(reason)


def alters_answers(settings: KnobSpec, value: KnobValue) -> bool:
    """Whether a model set so may answer differently from the same model in its own number format."""
    return settings.keeps_answers is not None and value not in settings.keeps_answers


def _wrong_value(settings: KnobSpec, value: KnobValue, release: str | None) -> str | None:
    if not fits(settings.type, value):
        return f"it takes {settings.type.value}"
    if settings.type is Type.TEXT:
        return _wrong_choice(settings, str(value), release)
    if settings.type is Type.SWITCH:
        return None
    number = float(value)
    if settings.above is not None and number <= settings.above:
        return f"it must be above {settings.above:g}"
    if settings.low is not None and number < settings.low:
        return f"it must be at least {settings.low:g}"
    if settings.high is not None and number > settings.high:
        return f"it must be at most {settings.high:g}"
    return None


def _wrong_choice(settings: KnobSpec, value: str, release: str | None) -> str | None:
    if value not in settings.choices:
        return f"it takes one of {', '.join(settings.choices)}"
    since = settings.choices[value]
    return None if releases.within(release, since, None) else f"{value} is not known before {since}"


def bounds(settings: KnobSpec) -> tuple[float | None, float | None]:
    """The range within which values may be set; None where it is open. The lower end itself may be excluded."""
    return (settings.low if settings.low is not None else settings.above, settings.high)


def bounded_knob(spec: EngineSpec, knob: Knob, release: str | None) -> KnobSpec:
    """The knob's table entry at a release; raises `InvalidInput` where the engine or the release lacks it."""
    return writable(spec, knob, releases.known(release))[0]
