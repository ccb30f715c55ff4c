"""What an engine's table may say. One `EngineSpec` per engine; everything else in this package reads it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from perfagent.domain.knob import Change, EffectiveConfig, Knob, KnobValue
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Labels
from perfagent.engines.completions import Completions
from perfagent.engines.release import within

NOTHING: Mapping[str, str] = MappingProxyType({})


class Form(Enum):
    """Where in a family of samples the figure stands."""

    VALUE = "the samples' values"
    HISTOGRAM = "buckets, sum and count"
    LABELS = "labels of a sample whose value says nothing"


@dataclass(frozen=True, slots=True)
class Term:
    """The series of one sample name that count: every label named here matches its pattern in full.

    A series without the label passes: older releases do not have it yet.
    """

    name: str
    where: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Source:
    """One spelling of a metric: terms that are added up. It is on a page when its first term is."""

    terms: tuple[Term, ...]
    form: Form = Form.VALUE
    since: str | None = None
    """First release with this spelling, as far as known."""
    until: str | None = None
    """Last release with it; None when it is current."""
    zero_if: str | None = None
    """A sample whose presence proves that a counter not on the page stands at zero."""
    labels_value: Callable[[Mapping[str, str]], float | None] | None = None
    """For `Form.LABELS`: the figure from the labels, None where they do not tell."""
    labels_kept: tuple[str, ...] = ()
    """For `Form.LABELS`: the labels that tell series apart."""


def value(
    name: str, *more: Term, since: str | None = None, until: str | None = None, zero_if: str | None = None, **where: str
) -> Source:
    """A gauge or counter, and what is added to it."""
    return Source((Term(name, where), *more), since=since, until=until, zero_if=zero_if)


def histogram(name: str, *, since: str | None = None, until: str | None = None, **where: str) -> Source:
    """A histogram, by the name that its `_bucket`, `_sum` and `_count` have in common."""
    return Source((Term(name, where),), Form.HISTOGRAM, since=since, until=until)


class Type(Enum):
    """What values a setting takes."""

    WHOLE = "a whole number"
    TOKENS = "a whole number; on a command line also 25.6k or 1K"
    NUMBER = "a number"
    SWITCH = "true or false"
    TEXT = "one of a list"


@dataclass(frozen=True, slots=True)
class Option:
    """One way to say a setting. The flag may be absent (environment only), and so may the variable."""

    flag: str | None = None
    off: str | None = None
    """For switches that come in pairs: the flag that means false."""
    env: str | None = None
    present_means: bool | None = None
    """For switches without a value: what the flag's presence means; the other value is its absence."""
    since: str | None = None
    until: str | None = None
    """Last release that accepts it; None when current."""


@dataclass(frozen=True, slots=True)
class KnobSpec:
    """How an engine spells a knob, and what it accepts. Every one of them needs a restart unless it says otherwise."""

    type: Type
    options: tuple[Option, ...]
    """Newest first; the first that a release has is the one written there. All of them are read."""
    low: float | None = None
    high: float | None = None
    """Never proposed nor accepted outside [low, high]: the legal range, or the safe one where that is narrower."""
    above: float | None = None
    """For an open lower end: the value must exceed this."""
    choices: Mapping[str, str | None] = field(default_factory=dict)
    """Values that may be set, with the first release known to have each (None: all). Others are read, not written."""
    defaults: tuple[tuple[str | None, KnobValue], ...] = ()
    """(since, value) newest first, where the default is a plain constant; hardware-dependent ones are unknown."""
    least_default: float | None = None
    """Where the default depends on the hardware: the smallest that it is on any GPU or CPU."""
    unset: KnobValue | None = None
    """The value that is said by not saying it."""
    stands_for: Mapping[KnobValue, Change] = field(default_factory=dict)
    """Values that are no figures, such as -1, with what they say of other knobs; this one is then unknown."""
    keeps_answers: frozenset[str] | None = None
    """Where a knob may alter answers: the values that do not. None for knobs that never do."""
    restart: bool = True
    note: str = ""

    def written(self, release: str | None) -> Option | None:
        """The option to write at a release, or None where the release lacks the knob."""
        return next((option for option in self.options if within(release, option.since, option.until)), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that must hold between settings; asked only when a change touches one of its knobs."""

    knobs: frozenset[Knob]
    broken: Callable[[EffectiveConfig, frozenset[Knob]], str | None]
    """From the configuration as it would be and the knobs changed: the reason why it cannot be, or None."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """How the engine's parser reads its command line."""

    prefixes: bool
    """Unambiguous prefixes of long flags are accepted."""
    underscores: bool
    """`--max_num_seqs` is `--max-num-seqs`."""
    others: frozenset[str] = frozenset()
    """Flags that are no knobs but begin like one, so that a prefix of both is known to be ambiguous."""
    file: str | None = None
    """The flag that names a configuration file; with it on the command line no default can be assumed."""


@dataclass(frozen=True, slots=True)
class Written:
    """One family of samples that carries a metric: how a server of this engine would expose it."""

    metric: Metric
    name: str
    group: str
    """Which of the engine's label sets its series have."""
    labels: Labels = ()
    """Labels beyond the group's."""
    less: Metric | None = None
    """A histogram whose count is left out of the value."""
    since: str | None = None
    until: str | None = None
    edges: tuple[tuple[str | None, tuple[float, ...] | Callable[[int], tuple[float, ...]]], ...] = ()
    """Finite bucket edges, (since, edges) newest first; a function of the longest request where they depend on it."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How an engine's page is written."""

    families: tuple[Written, ...]
    groups: Mapping[str, tuple[tuple[str | None, Labels], ...]]
    """Label sets by release, newest first; `{model}` and `{rank}` stand for the served name and the engine's rank."""
    since: str
    """The oldest release whose page can be written faithfully."""
    lazy: bool
    """Series appear at their first observation; otherwise they are all there from the start, at zero."""
    info: tuple[str, tuple[tuple[str | None, tuple[str, ...]], ...]] | None = None
    """The sample (value 1) whose labels are the configuration, and these by release, newest first; group `info` has
    the labels that it carries besides."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """What endpoints tell of the server's hardware and model, in their own words; empty where they do not."""

    hardware: str = ""
    """Name of the accelerator, such as `NVIDIA H100 80GB HBM3`."""
    count: int = 1
    """How many of them share one replica's work."""
    model: str = ""
    """The name or path that the weights were loaded from."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class EngineSpec:
    """Everything the product knows about one engine. Two specs are equal only when they are the same object."""

    name: str
    marker: str
    """What every metric name of this engine begins with."""
    metrics: Mapping[Metric, tuple[Source, ...]]
    """Newest spelling first; of those on a page only the first counts."""
    gaps: Mapping[Metric, str]
    """Metrics that no release of the engine exports, with the reason."""
    sometimes: Mapping[Metric, str]
    """Metrics that may be absent from the page of a release that has them, with the reason."""
    knobs: Mapping[Knob, KnobSpec]
    lacks: Mapping[Knob, str]
    """Knobs that people look for and the engine does not have, with the reason."""
    rules: tuple[Rule, ...]
    command_line: CommandLine
    endpoints: tuple[str, ...]
    """GET paths that may tell the configuration; each may be missing or closed."""
    read_back: Callable[[Mapping[str, str], Mapping[str, object]], Mapping[Knob, KnobValue]]
    """Settings from the page's configuration labels and from the endpoints' answers (path → JSON)."""
    version: Callable[[Mapping[str, object]], str | None]
    """The release from the endpoints' answers."""
    writing: Writing
    newest: str
    """The release this table was written for; newer ones are read the same way until somebody looks."""
    default_port: int
    completions: Completions = Completions.OPENAI
    """How it is asked to complete a text."""
    hosted: Callable[[Mapping[str, object]], Hosted] = lambda _: Hosted()
    """Hardware and model from the endpoints' answers."""
    reserves_output: bool = False
    """A request is admitted only where its whole answer will have room too: KV cache is taken before it is used."""
    repeats: frozenset[str] = frozenset()
    """Labels whose series repeat one another: one series is taken, they are not added."""
    info_labels: str | None = None
    """The sample whose labels are the configuration."""
    info_values: Mapping[str, str] = field(default_factory=dict)
    """Samples whose value is a setting: sample name → key in `Snapshot.info`."""
    started_at: str | None = None
    """The sample that tells when the server started (unix seconds)."""
    notes: tuple[str, ...] = ()
    """What a person should know when a page looks odd."""
