"""Pages of recordings at hand are recognised and read by the engines' tables."""

from pathlib import Path

import pytest

from perfagent import engines
from perfagent.domain.metric import Metric
from support import engine_contract as contract
from support.pages import CAPTURES, DERIVED, by_reference

RECORDED = sorted(path for folder in CAPTURES.glob("*/*") for path in sorted(folder.glob("*.prom"))[::12])


@pytest.mark.parametrize("path", RECORDED + sorted(DERIVED.glob("*.txt")), ids=lambda path: f"{path.parts[-3:]}")
def test_every_recording_at_hand_is_read(path: Path) -> None:
    if path.name == "disable_log_stats.prom":
        return
    samples = by_reference(path.read_text())
    engine = engines.recognise(sample.name for sample in samples)
    assert engine is not None
    assert engine in str(path)
    page = engines.read(engine, samples, target="r1", at_s=contract.AT_S)
    assert page.scalars
    by_name = {sample.name: sample.value for sample in samples if not sample.labels or engine != "tgi"}
    running = {
        "vllm": "vllm:num_requests_running",
        "sglang": "sglang:num_running_reqs",
        "tgi": "tgi_batch_current_size",
    }
    if "dp2" not in path.name and running[engine] in by_name:
        assert contract.figure(page, Metric.RUNNING) == by_name[running[engine]]
