"""`docs/adding-an-engine.md`, done: its table becomes an engine, its page and facts pass the contract."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import EffectiveConfig, Knob, LaunchConfig
from perfagent.engines.changing import render, spell
from perfagent.engines.checking import check
from perfagent.engines.settings import effective
from perfagent.engines.spec import EngineSpec
from support import engine_contract as contract
from support.pages import REPO

GUIDE = (REPO / "docs" / "adding-an-engine.md").read_text()
PAGE = "1.4.0-two-waiting.prom"


def block(language: str) -> str:
    (only,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return str(only)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    (folder / "__init__.py").write_text(block("python"))
    (folder / PAGE).write_text(block("prometheus"))
    (folder / "facts.json").write_text(block("json"))
    return folder


@pytest.fixture(scope="module")
def toy(folder: Path) -> Iterator[EngineSpec]:
    found = importlib.util.spec_from_file_location("toy", folder / "__init__.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    yield module.ENGINE
    assert "toy" not in engines.ENGINES


def test_its_table_is_whole(toy: EngineSpec) -> None:
    contract.the_table_is_whole(toy)


def test_its_page_is_read_and_the_facts_agree(toy: EngineSpec, folder: Path) -> None:
    for page in contract.pages(folder):
        contract.a_page_is_read(toy, page)
        assert contract.snapshot(toy, page).info == {"page_tokens": "16"}
    for page, figures in contract.facts(folder):
        contract.facts_agree(toy, page, figures)


def test_a_page_written_by_its_table_reads_back(toy: EngineSpec) -> None:
    contract.a_written_page_reads_back(toy, "1.4.0")


@given(data=st.data())
def test_changes_to_it_round_trip(toy: EngineSpec, data: st.DataObject) -> None:
    knob, values = data.draw(st.sampled_from(contract.settable(toy, "1.4.0")))
    launch = LaunchConfig(data.draw(st.sampled_from([(), ("--seats", "8"), ("--no-cache", "--log=debug")])))
    contract.a_change_round_trips(toy, launch, ((knob, data.draw(st.sampled_from(values))),), "1.4.0")


def test_whatever_its_table_offers_may_be_set(toy: EngineSpec) -> None:
    offered = contract.settable(toy, "1.4.0")
    assert max(dict(offered)[Knob.MAX_NUM_SEQS]) == 512
    for knob, values in offered:
        for value in values:
            contract.a_settable_value_is_accepted(toy, knob, value, "1.4.0")


def test_its_environment_and_its_endpoint_are_heard(toy: EngineSpec) -> None:
    launch = LaunchConfig((), (("TOY_SEATS", "8"),))
    assert effective(toy, launch, {}, {}, "1.4.0").value(Knob.MAX_NUM_SEQS) == 8
    told = effective(toy, launch, {}, {"/config": {"version": "1.3.2", "seats": 6}}, None)
    assert (told.value(Knob.MAX_NUM_SEQS), told.release) == (6, "1.3.2")


def test_leaving_a_metric_undeclared_fails_the_contract(toy: EngineSpec) -> None:
    del_one = {metric: reason for metric, reason in toy.gaps.items() if metric != "itl_s"}
    fields = {name: getattr(toy, name) for name in EngineSpec.__slots__ if name != "__weakref__"}
    with pytest.raises(AssertionError):
        contract.the_table_is_whole(EngineSpec(**{**fields, "gaps": del_one}))


def test_a_page_that_lacks_what_its_release_should_have_fails_the_contract(toy: EngineSpec, tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text(re.sub(r"(?m)^toy_waiting.*\n", "", block("prometheus")))
    with pytest.raises(AssertionError, match="waiting"):
        contract.a_page_is_read(toy, contract.Page(tmp_path / PAGE))


def test_what_the_table_does_not_offer_cannot_be_set(toy: EngineSpec) -> None:
    with pytest.raises(InvalidInput, match="fp8 is not known before"):
        check(toy, ((Knob.KV_CACHE_DTYPE, "fp8"),), EffectiveConfig({}, "1.3.0"))


def test_the_spelling_written_is_the_releases_own(toy: EngineSpec) -> None:
    change = ((Knob.KV_CACHE_DTYPE, "auto"),)
    assert spell(toy, change, "1.2.7") == ("--kv-type=auto",)
    assert spell(toy, change, "1.3.0") == ("--cache-type=auto",)
    before = LaunchConfig(("--kv-type=fp8",))
    assert render(toy, before, change, "1.2.7") == LaunchConfig(("--kv-type=auto",))


def test_a_setting_that_is_gone_is_refused_with_its_last_release(toy: EngineSpec) -> None:
    with pytest.raises(InvalidInput, match=r"toy 1\.4\.0 has no block_size: the last release with --page was 1\.3"):
        check(toy, ((Knob.BLOCK_SIZE, 16),), EffectiveConfig({}, "1.4.0"))
    with pytest.raises(InvalidInput, match=r"the last release with --page was 1\.3"):
        check(toy, ((Knob.BLOCK_SIZE, 16),), EffectiveConfig({}))
    check(toy, ((Knob.BLOCK_SIZE, 16),), EffectiveConfig({}, "1.3.9"))
