"""The only place where engines are known by name: one table each, and the functions that read the tables.

A new engine is one folder with an `EngineSpec` and one line in `ENGINES`; `docs/adding-an-engine.md` has the steps.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Change, EffectiveConfig, Knob, KnobValue, LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.domain.quality import Answer
from perfagent.domain.snapshot import Sample, Snapshot
from perfagent.engines import changing, checking, completions, reading, settings, values, writing
from perfagent.engines import release as releases
from perfagent.engines.completions import Completions
from perfagent.engines.sglang import SGLANG
from perfagent.engines.spec import EngineSpec, Hosted
from perfagent.engines.tgi import TGI
from perfagent.engines.vllm import VLLM
from perfagent.engines.writing import Exposition

ENGINES: Mapping[str, EngineSpec] = MappingProxyType({engine.name: engine for engine in (VLLM, TGI, SGLANG)})


def spec(name: str) -> EngineSpec:
    """An engine's table; raises `InvalidInput` for an engine that we do not know."""
    if name not in ENGINES:
        raise InvalidInput(f"unknown engine {name!r}; known are {', '.join(ENGINES)}")
    return ENGINES[name]


def wanted(engine: str | None) -> frozenset[str]:
    """The names of the samples that an engine's table looks at; of all engines' for None, to recognise one by."""
    return reading.wanted(spec(engine)) if engine is not None else _WANTED_BY_ANY


_WANTED_BY_ANY = frozenset[str]().union(*(reading.wanted(engine) for engine in ENGINES.values()))


def recognise(names: Iterable[str]) -> str | None:
    """The engine whose page has samples of these names; None for a page of none that we know, an empty one included."""
    return reading.recognise(ENGINES.values(), names)


def read(engine: str, samples: Iterable[Sample], *, target: str, at_s: float) -> Snapshot:
    """One page's samples as a snapshot.

    What the page does not carry, or carries in a form that cannot be (a histogram without +Inf, a NaN), is absent.
    """
    return reading.read(spec(engine), samples, target=target, at_s=at_s)


def gap(engine: str, metric: Metric) -> str | None:
    """Why no release of this engine tells a metric; None where some release does."""
    return spec(engine).gaps.get(metric)


def reserves_output(engine: str) -> bool:
    """Whether the engine admits a request only where its whole answer will have room too."""
    return spec(engine).reserves_output


def endpoints(engine: str) -> tuple[str, ...]:
    """GET paths worth asking for the configuration; any of them may be missing or closed."""
    return spec(engine).endpoints


def effective(
    engine: str,
    launch: LaunchConfig,
    info: Mapping[str, str],
    answers: Mapping[str, object],
    release: str | None = None,
) -> EffectiveConfig:
    """How a server is set as far as can be known: read back, then flags and environment, then the release's defaults.

    `info` is the snapshot's, `answers` maps the paths of `endpoints` that answered to their JSON, `release` is what
    somebody told us and counts where the server does not say. Only fields named in the table are taken from an answer:
    some carry secrets.
    """
    return settings.effective(spec(engine), launch, info, answers, release)


def variables(engine: str) -> frozenset[str]:
    """The environment variables that say a knob of this engine: all of its environment that is ever read or changed."""
    options = (option for knob in spec(engine).knobs.values() for option in knob.options)
    return frozenset(option.env for option in options if option.env is not None)


def hosted(engine: str, answers: Mapping[str, object]) -> Hosted:
    """What the answers of `endpoints` tell of hardware and model; like `effective`, it takes only fields it names."""
    return spec(engine).hosted(answers)


def render(engine: str, launch: LaunchConfig, change: Change, release: str | None) -> LaunchConfig:
    """The launch configuration with the knobs changed where they are said, appended where they are not.

    Everything else stays byte for byte, and doing it twice is doing it once. Raises `InvalidInput` for a knob that the
    release lacks; whether the values make sense is `check`'s business.
    """
    return changing.render(spec(engine), launch, change, releases.known(release))


def spell(engine: str, change: Change, release: str | None) -> tuple[str, ...]:
    """The change for people: `--flag=value`, `NAME=value` for the environment, `without --flag`."""
    return changing.spell(spec(engine), change, releases.known(release))


def check(engine: str, change: Change, config: EffectiveConfig) -> None:
    """Raises `InvalidInput` with the reason where the change must not be made on a server set like this.

    The release lacks the knob, the value has the wrong type or lies outside what is legal and safe, or settings
    contradict each other. Without a release the newest one's table counts.
    """
    checking.check(spec(engine), change, config)


def value_of(engine: str, knob: Knob, text: str) -> KnobValue:
    """A knob's value as people type it. Raises `InvalidInput` where it is none, or the engine lacks the knob."""
    value = values.parse(checking.bounded_knob(spec(engine), knob, None).type, text)
    if value is None:
        raise InvalidInput(f"{knob} takes no {text!r}")
    return value


def alters_answers(engine: str, knob: Knob, value: KnobValue) -> bool:
    """Whether a model may answer differently with this setting, so that it needs approval and a look at quality."""
    known = spec(engine).knobs.get(knob)
    return known is not None and checking.alters_answers(known, value)


def names_model(engine: str) -> bool:
    """Whether a question names the model, which `served_model` tells from `/v1/models`."""
    return spec(engine).completions is Completions.OPENAI


def served_model(body: object) -> str:
    """The model that `/v1/models` names first. Raises `BadAnswer`."""
    return completions.served_model(body)


def question(engine: str, model: str, prompt: str, tokens: int) -> tuple[str, Mapping[str, object]]:
    """Where and how to ask a server to complete a text by the likeliest tokens: path, and body of a POST."""
    form = spec(engine).completions
    return form.value, completions.question(form, model, prompt, tokens)


def answered(engine: str, body: object) -> Answer:
    """What a server answered to the `question`. Raises `BadAnswer` where it told no tokens."""
    return completions.answer(spec(engine).completions, body)


def bounds(engine: str, knob: Knob, release: str | None) -> tuple[float | None, float | None]:
    """The legal and safe range, None where it is open; a lower end of 0 for a share is itself excluded.

    Raises `InvalidInput` for a knob that the engine or the release lacks.
    """
    return checking.bounds(checking.bounded_knob(spec(engine), knob, release))


def needs_restart(engine: str, knob: Knob) -> bool:
    """Whether a change takes effect only when the server starts anew; raises `InvalidInput` for a knob it lacks."""
    return checking.bounded_knob(spec(engine), knob, None).restart


def supports(engine: str, knob: Knob, release: str | None) -> bool:
    """Whether the engine's release has the knob; an unknown release counts as the newest."""
    known = spec(engine).knobs.get(knob)
    return known is not None and known.written(releases.known(release)) is not None


def exposition(engine: str, release: str | None, *, max_model_len: int = 8192) -> Exposition:
    """How a server of this release writes its page: for each metric the names, labels and bucket edges.

    None means the newest release that we know. Raises `InvalidInput` for one older than the tables reach.
    """
    return writing.exposition(spec(engine), release, max_model_len)
