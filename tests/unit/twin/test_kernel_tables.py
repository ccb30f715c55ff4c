"""Ratios by kernels that were timed; with `aiconfigurator-core` installed (the extra `kernels`), and without it."""

import sys
from collections.abc import Iterator
from dataclasses import astuple
from importlib.util import find_spec

import numpy as np
import pytest

from perfagent.domain.machine import ModelShape
from perfagent.twin import kernel_tables
from perfagent.twin.data_types import TABLE_GPU, DataTypes, Ratios, ratios
from perfagent.twin.gpus import NAMES
from perfagent.twin.kernel_tables import SYSTEMS, better

installed = pytest.mark.skipif(find_spec("aiconfigurator_core") is None, reason="the extra `kernels` is not installed")
SHAPE = ModelShape(params=11e9, layers=40, width=5120, kv_heads=8, head_dim=128)
FULL, SMALL = DataTypes(), DataTypes(1.0, 1.0)
KNOWN = ratios(FULL, SMALL)


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    """What was looked up for one test is not there for the next."""
    kernel_tables._kernels.cache_clear()
    yield
    kernel_tables._kernels.cache_clear()


def found(gpu: str | None = "h200", engine: str = "vllm", before: DataTypes = FULL, after: DataTypes = SMALL) -> Ratios:
    return better(ratios(before, after, own=gpu == TABLE_GPU), engine, gpu, SHAPE, before, after)


def test_without_the_database_what_is_known_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiconfigurator_core.sdk.engine", None)  # as Python marks what cannot be imported
    assert better(KNOWN, "vllm", "h200", SHAPE, FULL, SMALL) is KNOWN


def test_a_gpu_that_it_has_no_rows_of_is_not_looked_up() -> None:
    assert set(SYSTEMS) <= set(NAMES)
    assert better(KNOWN, "vllm", "a10", SHAPE, FULL, SMALL) is KNOWN
    assert better(KNOWN, "vllm", None, SHAPE, FULL, SMALL) is KNOWN


@installed
def test_on_the_gpu_of_the_small_table_it_says_about_the_same() -> None:
    off = np.log(astuple(found().ratio)) - np.log(astuple(KNOWN.ratio))
    sds = np.array(list(KNOWN.log_sd.values()))
    assert (np.abs(off) <= sds).all()
    assert "h200 with vllm" in found().source


@installed
def test_kernels_of_the_gpu_itself_are_surer_than_the_table_of_another() -> None:
    table = ratios(FULL, SMALL, own=False)
    assert found("l40s").log_sd == pytest.approx(KNOWN.log_sd)
    assert all(sd <= table.log_sd[name] for name, sd in found("l40s").log_sd.items())
    assert found("l40s").log_sd["base_s"] < table.log_sd["base_s"]


@installed
@pytest.mark.parametrize("gpu", SYSTEMS)
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_smaller_numbers_are_read_faster_on_every_gpu_and_the_way_back_leads_back(gpu: str, engine: str) -> None:
    there, back = found(gpu, engine).ratio, found(gpu, engine, SMALL, FULL).ratio
    assert astuple(there.times(back)) == pytest.approx((1.0,) * 7)
    assert there.base_s < 1
    assert there.per_token_s < 1
    assert 0.5 <= there.per_context_token_s < 1
    assert there.ridge_tokens == pytest.approx(there.base_s / there.per_token_s)
    assert there.prompt_step_s == 1


@installed
def test_what_does_not_change_has_no_ratio() -> None:
    weights, cache = (found(after=after).ratio for after in (DataTypes(1.0, 2.0), DataTypes(2.0, 1.0)))
    assert (weights.per_context_token_s, weights.per_sequence_s, weights.per_pair_s) == (1, 1, 1)
    assert (cache.base_s, cache.per_token_s, cache.ridge_tokens) == (1, 1, 1)


@installed
@pytest.mark.parametrize(
    ("engine", "after"), [("tgi", SMALL), ("vllm", DataTypes(weight_bytes=0.5)), ("vllm", DataTypes(kv_bytes=0.5))]
)
def test_without_a_row_what_is_known_stands(engine: str, after: DataTypes) -> None:
    known = ratios(FULL, after)
    assert better(known, engine, "h200", SHAPE, FULL, after) is known
