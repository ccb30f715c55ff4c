import pytest

from perfagent.analysis import check_measurable, service_slo_status
from perfagent.domain.errors import InvalidInput
from perfagent.domain.slo import Objective, SloMetric
from support.windows import window

FAST = window(ttft=[[0.1, 0.1, 0.1]], generation_tokens="0 50", finished="0 9", failed="0 1", kv_usage="0.2 0.2")
SLOW = window(ttft=[[0.5]], generation_tokens="0 100", finished="0 10", failed="0 0", kv_usage="0.9 0.9", target="r2")
BOTH = (FAST, SLOW)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (SloMetric.TTFT, (3 * 0.1 + 0.5) / 4),
        (SloMetric.THROUGHPUT, (50 + 100) / 5),
        (SloMetric.ERROR_RATE, 1 / 20),
        (SloMetric.KV_CACHE_USAGE, 0.9),
    ],
)
def test_a_service_stands_to_its_objectives_with_all_its_requests(metric: SloMetric, value: float) -> None:
    assert service_slo_status(BOTH, Objective(metric, 1)).current == pytest.approx(value)


def test_what_one_replica_does_not_tell_is_taken_from_the_others() -> None:
    assert service_slo_status((FAST, window(running="1 1")), Objective(SloMetric.TTFT, 1)).current == pytest.approx(0.1)


def test_errors_are_unknown_where_one_replica_does_not_tell_them() -> None:
    assert service_slo_status((FAST, window(running="1 1")), Objective(SloMetric.ERROR_RATE, 1)).compliant is None


def test_an_objective_that_the_engine_cannot_tell_is_unknown_here_and_refused_for_good() -> None:
    objective = Objective(SloMetric.TTFT, 1)
    status = service_slo_status((window(running="1 1", engine="tgi"),), objective)
    assert status.compliant is None
    with pytest.raises(InvalidInput, match=r"tgi cannot tell ttft: .+"):
        check_measurable("tgi", [objective])
    check_measurable("vllm", [objective])


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(InvalidInput, match="unknown engine 'llamafile'"):
        check_measurable("llamafile", [])
