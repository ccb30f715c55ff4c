"""What every engine's table must keep, whoever the engine is: run over its table and over its recorded pages."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import inf, isclose
from pathlib import Path

from perfagent.domain.histogram import merge
from perfagent.domain.knob import Change, EffectiveConfig, Knob, KnobValue, LaunchConfig
from perfagent.domain.metric import Kind, Metric
from perfagent.domain.snapshot import Sample, Snapshot
from perfagent.engines import release as releases
from perfagent.engines.changing import render
from perfagent.engines.checking import bounds, check
from perfagent.engines.reading import read, recognise, wanted
from perfagent.engines.settings import effective
from perfagent.engines.spec import EngineSpec, Form, KnobSpec, Type
from perfagent.engines.values import fits
from perfagent.engines.writing import Family, exposition
from support.pages import by_reference

AT_S = 1_800_000_000.0


@dataclass(frozen=True)
class Page:
    """A recorded page: `<release>-<what it shows>.prom`."""

    path: Path

    @property
    def release(self) -> str:
        return self.path.name.split("-")[0]

    def samples(self) -> list[Sample]:
        return _samples_of(self.path)


@cache
def _samples_of(path: Path) -> list[Sample]:
    return by_reference(path.read_text())


def pages(folder: Path) -> list[Page]:
    return [Page(path) for path in sorted(folder.glob("*.prom"))]


def facts(folder: Path) -> Iterator[tuple[Page, dict[str, object]]]:
    """Each page with the figures that a person read on it."""
    for name, figures in json.loads((folder / "facts.json").read_text()).items():
        yield Page(folder / name), figures


def snapshot(spec: EngineSpec, page: Page) -> Snapshot:
    return read(spec, page.samples(), target="r1", at_s=AT_S)


def figure(page: Snapshot, metric: Metric) -> object:
    """A metric's series together: a number, `[count, sum]`, or None."""
    if metric in page.histograms:
        whole = merge(page.histograms[metric].values())
        assert whole is not None
        return [whole.count, whole.total]
    series = page.scalars.get(metric)
    if series is None:
        return None
    return max(series.values()) if metric.kind is Kind.GAUGE_MAX else sum(series.values())


def agrees(ours: object, read_by_a_person: object) -> bool:
    if isinstance(ours, list) and isinstance(read_by_a_person, list):
        return len(ours) == len(read_by_a_person) and all(map(agrees, ours, read_by_a_person))
    if isinstance(ours, (int, float)) and isinstance(read_by_a_person, (int, float)):
        return isclose(ours, read_by_a_person, rel_tol=1e-12)
    return False


def the_table_is_whole(spec: EngineSpec) -> None:
    """Every metric has a source or a reason, every knob a spelling or a reason, and all of it is consistent."""
    assert set(spec.metrics) | set(spec.gaps) == set(Metric)
    assert not set(spec.metrics) & set(spec.gaps)
    assert set(spec.sometimes) <= set(spec.metrics)
    for metric, sources in spec.metrics.items():
        for source in sources:
            assert (source.form is Form.HISTOGRAM) == (metric.kind is Kind.HISTOGRAM), metric
            for release in (source.since, source.until):
                assert release is None or releases.parse(release)
    assert set(spec.knobs) | set(spec.lacks) == set(Knob)
    assert not set(spec.knobs) & set(spec.lacks)
    for knob, settings in spec.knobs.items():
        assert settings.options, knob
        assert all(option.flag or option.env for option in settings.options), knob
        assert all(fits(settings.type, value) for _, value in settings.defaults), knob
        assert (settings.type is Type.TEXT) == bool(settings.choices), knob
        unsaid: list[KnobValue] = [not o.present_means for o in settings.options if o.present_means is not None]
        unsaid += [] if settings.unset is None else [settings.unset]
        assert all(releases.pick(spec.newest, settings.defaults) == value for value in unsaid), knob
        assert settings.keeps_answers is None or settings.type is Type.TEXT, knob
    assert not spec.command_line.others & {o.flag for settings in spec.knobs.values() for o in settings.options}


def a_page_is_read(spec: EngineSpec, page: Page) -> None:
    """It is recognised, and what it does not tell is a gap, newer or older than it, or known to come later."""
    samples = page.samples()
    assert recognise([spec], (sample.name for sample in samples)) == spec.name
    assert {sample.name for sample in samples} & wanted(spec)
    told = snapshot(spec, page)
    assert told.engine == spec.name
    for metric in Metric:
        if metric in told.scalars or metric in told.histograms:
            assert metric not in spec.gaps
            continue
        spans = spec.metrics.get(metric, ())
        of_its_time = any(releases.within(page.release, span.since, span.until) for span in spans)
        assert metric in spec.gaps or metric in spec.sometimes or not of_its_time, (page.path.name, metric)


def facts_agree(spec: EngineSpec, page: Page, figures: dict[str, object]) -> None:
    told = snapshot(spec, page)
    for name, value in figures.items():
        assert agrees(figure(told, Metric(name)), value), (page.path.name, name, figure(told, Metric(name)), value)


def a_written_page_reads_back(spec: EngineSpec, release: str) -> None:
    """What the writing table puts on a page, the reading table finds, metric by metric."""
    page = exposition(spec, release, max_model_len=4096)
    written = {metric: float(number) for number, metric in enumerate(Metric, start=100)}
    written[Metric.KV_USAGE] = 0.5
    # what engines tell in parts must add up
    written[Metric.PROMPT_TOKENS] = written[Metric.PROMPT_TOKENS_COMPUTED] + written[Metric.PREFIX_HITS]
    samples = [sample for family in page.families for sample in _samples(family, written)]
    if page.info_name is not None:
        told = {"kv_cache_size_tokens": "4096", "num_gpu_blocks": "256", "block_size": "16"}
        labels = tuple((key, told[key]) for key in page.info_keys if key in told)
        samples.append(Sample(page.info_name, labels, 1.0))
    back = read(spec, samples, target="r1", at_s=AT_S)
    for metric in {family.metric for family in page.families}:
        if metric.kind is Kind.HISTOGRAM:
            assert figure(back, metric) == [3.0, written[metric]], metric
        elif metric is not Metric.GENERATION_TOKENS or metric in back.scalars:
            assert figure(back, metric) == written[metric], metric


def _samples(family: Family, written: dict[Metric, float]) -> Iterator[Sample]:
    labels = family.series("m", 0)
    value = written[family.metric]
    if family.type != "histogram":
        yield Sample(family.name, labels, value - (3.0 if family.less is not None else 0.0))
        return
    assert family.edges
    for edge in (*family.edges, inf):
        yield Sample(f"{family.name}_bucket", (*labels, ("le", str(edge))), 3.0)
    yield Sample(f"{family.name}_sum", labels, value)
    yield Sample(f"{family.name}_count", labels, 3.0)


def settable(spec: EngineSpec, release: str) -> list[tuple[Knob, list[KnobValue]]]:
    """Every knob of a release with values that it takes, its bounds among them."""
    return [
        (knob, values)
        for knob, settings in spec.knobs.items()
        if settings.written(release) is not None and (values := _values(settings, release))
    ]


def _values(settings: KnobSpec, release: str) -> list[KnobValue]:
    match settings.type:
        case Type.SWITCH:
            return [True, False]
        case Type.TEXT:
            return [value for value, since in settings.choices.items() if releases.within(release, since, None)]
        case Type.NUMBER:
            low, high = bounds(settings)
            bottom = low or 0.0
            top = high if high is not None else bottom + 64.0
            return [round(bottom + (top - bottom) * share, 3) for share in (0.25, 0.5, 1.0)]
        case _:
            bottom = int(settings.low or 0)
            top = int(settings.high) if settings.high is not None else bottom + 4096
            return sorted({bottom, min(bottom + 16, top), top})


def known(spec: EngineSpec, launch: LaunchConfig, release: str) -> EffectiveConfig:
    return effective(spec, launch, {}, {}, release)


def a_change_round_trips(spec: EngineSpec, launch: LaunchConfig, change: Change, release: str) -> None:
    """Rendered, it is in force, nothing else has moved, a second time does nothing, and the way back leads back."""
    before = known(spec, launch, release)
    after = render(spec, launch, change, release)
    config = known(spec, after, release)
    for knob, value in change:
        assert config.value(knob) == value, (knob, value, after)
    changed = {knob for knob, _ in change}
    for knob in set(Knob) - changed:
        assert config.settings.get(knob) == before.settings.get(knob), (knob, after)
    assert render(spec, after, change, release) == after
    prior: Change = tuple((k, s.value) for k, s in before.settings.items() if k in changed)
    if len(prior) == len(change):
        back = known(spec, render(spec, after, prior, release), release)
        assert {k: s.value for k, s in back.settings.items()} == {k: s.value for k, s in before.settings.items()}


def a_settable_value_is_accepted(spec: EngineSpec, knob: Knob, value: KnobValue, release: str) -> None:
    check(spec, ((knob, value),), EffectiveConfig({}, release))
