"""Every engine in `ENGINES`, and every page in its fixtures folder."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent import engines
from perfagent.domain.knob import Change, Knob, LaunchConfig
from perfagent.engines.spec import EngineSpec, Type
from perfagent.engines.values import write
from support import engine_contract as contract
from support.pages import CAPTURES, FIXTURES, by_reference

SPECS = list(engines.ENGINES.values())
FOLDERS = FIXTURES / "engines"
PAGES = [(spec, page) for spec in SPECS for page in contract.pages(FOLDERS / spec.name)]
FACTS = [(spec, *fact) for spec in SPECS for fact in contract.facts(FOLDERS / spec.name)]


def name(value: object) -> str:
    return value.name if isinstance(value, EngineSpec) else value.path.name if isinstance(value, contract.Page) else ""


@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_every_metric_and_knob_has_a_source_or_a_reason(spec: EngineSpec) -> None:
    contract.the_table_is_whole(spec)


@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_every_engine_has_pages_and_facts(spec: EngineSpec) -> None:
    assert contract.pages(FOLDERS / spec.name)
    assert list(contract.facts(FOLDERS / spec.name))


@pytest.mark.parametrize(("spec", "page"), PAGES, ids=name)
def test_what_a_page_does_not_tell_is_declared(spec: EngineSpec, page: contract.Page) -> None:
    contract.a_page_is_read(spec, page)
    assert engines.recognise(sample.name for sample in page.samples()) == spec.name


@pytest.mark.parametrize(("spec", "page", "figures"), FACTS, ids=name)
def test_figures_are_those_that_a_person_reads(
    spec: EngineSpec, page: contract.Page, figures: dict[str, object]
) -> None:
    contract.facts_agree(spec, page, figures)


@pytest.mark.parametrize("path", sorted((FOLDERS / "unrecognised").glob("*.prom")), ids=lambda path: path.name)
def test_a_page_without_an_engines_own_series_is_nobodys(path: Path) -> None:
    assert engines.recognise(sample.name for sample in by_reference(path.read_text())) is None


@pytest.mark.parametrize(
    ("spec", "release"),
    [(spec, release) for spec in SPECS for release in (spec.writing.since, spec.newest)]
    + [(engines.spec("vllm"), "0.10.1"), (engines.spec("vllm"), "0.26.0"), (engines.spec("sglang"), "0.5.20")],
    ids=lambda value: value.name if isinstance(value, EngineSpec) else str(value),
)
def test_a_page_as_the_engine_writes_it_reads_back(spec: EngineSpec, release: str) -> None:
    contract.a_written_page_reads_back(spec, release)


@st.composite
def launches(draw: st.DrawFn, spec: EngineSpec) -> LaunchConfig:
    """Command lines as people write them: other flags in between, both styles, duplicates, environment."""
    flags: list[str] = []
    env: list[tuple[str, str]] = []
    for knob, values in draw(st.lists(st.sampled_from(contract.settable(spec, spec.newest)), max_size=4)):
        value = draw(st.sampled_from(values))
        settings = spec.knobs[knob]
        option = draw(st.sampled_from([option for option in settings.options if option.until is None]))
        if option.env is not None and (option.flag is None or draw(st.booleans())):
            env.append((option.env, str(int(value)) if isinstance(value, bool) else write(value)))
        elif settings.type is Type.SWITCH:
            flags.append(str(option.off if option.off is not None and not value else option.flag))
        else:
            flags += [f"{option.flag}={write(value)}"] if draw(st.booleans()) else [str(option.flag), write(value)]
        flags += draw(st.sampled_from([[], ["--trust-remote-code"], ["--seed", "7"], ["--served-model-name=m"]]))
    return LaunchConfig(tuple(flags), tuple(env))


@pytest.mark.parametrize("spec", SPECS, ids=name)
@given(data=st.data())
def test_a_change_is_in_force_once_written_and_nothing_else_moves(spec: EngineSpec, data: st.DataObject) -> None:
    launch = data.draw(launches(spec))
    wished = data.draw(
        st.dictionaries(
            st.sampled_from([knob for knob, _ in contract.settable(spec, spec.newest)]),
            st.none(),
            min_size=1,
            max_size=3,
        )
    )
    values = dict(contract.settable(spec, spec.newest))
    change: Change = tuple((knob, data.draw(st.sampled_from(values[knob]))) for knob in Knob if knob in wished)
    contract.a_change_round_trips(spec, launch, change, spec.newest)


@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_whatever_the_table_offers_may_be_set(spec: EngineSpec) -> None:
    for knob, values in contract.settable(spec, spec.newest):
        for value in values:
            contract.a_settable_value_is_accepted(spec, knob, value, spec.newest)


@pytest.mark.parametrize("meta", sorted(CAPTURES.glob("*/*/meta.json")), ids=lambda path: path.parent.name)
def test_flags_of_a_recording_are_all_understood(meta: Path) -> None:
    told = json.loads(meta.read_text())
    if "flags" not in told:
        return
    launch = LaunchConfig(tuple(told["flags"]))
    config = engines.effective(told["engine"], launch, {}, {}, told["version"])
    said = dict(flag.removeprefix("--").partition("=")[::2] for flag in told["flags"])
    told_knobs = {FLAGS[flag] for flag in said if flag in FLAGS}
    for flag in said:
        if flag in FLAGS:
            assert str(config.value(FLAGS[flag])) == said[flag]
    for knob in {Knob.MAX_NUM_SEQS, Knob.MAX_NUM_BATCHED_TOKENS} - told_knobs:
        assert config.value(knob) is None


FLAGS = {
    "max-num-seqs": Knob.MAX_NUM_SEQS,
    "max-running-requests": Knob.MAX_NUM_SEQS,
    "max-num-batched-tokens": Knob.MAX_NUM_BATCHED_TOKENS,
    "gpu-memory-utilization": Knob.GPU_MEMORY_UTILIZATION,
    "mem-fraction-static": Knob.GPU_MEMORY_UTILIZATION,
    "max-model-len": Knob.MAX_MODEL_LEN,
    "kv-cache-dtype": Knob.KV_CACHE_DTYPE,
    "quantization": Knob.QUANTIZATION,
    "num-gpu-blocks-override": Knob.KV_CACHE_TOKENS,
    "max-total-tokens": Knob.KV_CACHE_TOKENS,
}
