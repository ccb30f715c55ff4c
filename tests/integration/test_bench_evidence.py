from dataclasses import replace

from perfagent.bench.ablation import FLAGS
from perfagent.bench.recorded import diagnose_recorded
from perfagent.bench.scenario import Kind
from perfagent.bench.scenarios import diagnose_scenario
from perfagent.domain.metric import Metric
from support.captures import FIXTURES

BATCH_LIMIT, HEALTHY = (list(Kind).index(kind) for kind in (Kind.BATCH_LIMIT, Kind.HEALTHY))


def test_a_played_cause_tells_what_it_took_to_be_named() -> None:
    asked = diagnose_scenario(0, BATCH_LIMIT, ablation=True)
    assert asked is not None
    assert asked.right_without is not None
    assert asked.right_without.keys() >= {Metric.RUNNING, Metric.WAITING, Metric.ITL, FLAGS}
    assert not asked.right_without[Metric.RUNNING]
    assert asked.right_without[Metric.E2E]
    assert replace(asked, right_without=None) == diagnose_scenario(0, BATCH_LIMIT)


def test_silence_needs_no_evidence() -> None:
    asked = diagnose_scenario(0, HEALTHY, ablation=True)
    assert asked is not None
    assert asked.right_without is None


def test_a_recorded_cause_tells_it_too() -> None:
    asked = diagnose_recorded(FIXTURES / "vllm-0.26.0-h200" / "kv_starved", ablation=True)
    assert asked.said == ("kv_capacity",)
    assert asked.right_without is not None
    assert not asked.right_without[Metric.RUNNING]
