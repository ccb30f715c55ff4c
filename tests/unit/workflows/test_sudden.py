from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Snapshot
from perfagent.workflows.sudden import SuddenHarm

METRICS = (Metric.TTFT, Metric.FAILED)


def pages(
    target: str, *counts: tuple[float, float], from_s: float = 10.0, started_at_s: float = 0.0
) -> dict[str, list[Snapshot]]:
    """(requests ended well, failed) so far, every ten seconds."""
    return {
        target: [
            Snapshot(
                target,
                "vllm",
                from_s + 10 * k,
                {Metric.FINISHED: {(): well}, Metric.FAILED: {(): failed}},
                {},
                started_at_s=started_at_s,
            )
            for k, (well, failed) in enumerate(counts)
        ]
    }


def test_failures_of_the_canary_alone_become_certain_as_they_add_up() -> None:
    harm = SuddenHarm(0.0, METRICS, None)
    assert harm.add(pages("a", (0, 0), (98, 2)), pages("b", (0, 0), (900, 0))) is None
    found = harm.add(pages("a", (190, 10), from_s=30), pages("b", (1800, 0), from_s=30))
    assert found == ("a", "requests_failed: 5.00% of 200 requests, which is no chance")


def test_each_snapshot_counts_once() -> None:
    harm = SuddenHarm(0.0, METRICS, None)
    harm.add(pages("a", (0, 0), (98, 2)), pages("b", (0, 0), (900, 0)))
    assert harm.read_to_s("a") == 20.0
    assert harm.read_to_s("unseen") == 0.0
    for _ in range(20):
        assert harm.add({"a": []}, {"b": []}) is None


def test_failures_that_befall_everybody_are_nobodys_harm() -> None:
    harm = SuddenHarm(0.0, METRICS, None)
    assert harm.add(pages("a", (0, 0), (50, 50)), pages("b", (0, 0), (450, 450))) is None


def test_without_others_it_is_the_usual_share_that_counts() -> None:
    usual = {Metric.FAILED: 0.05, Metric.REJECTED: 0.05}
    assert SuddenHarm(0.0, METRICS, usual).add(pages("a", (0, 0), (950, 50)), {}) is None
    assert SuddenHarm(0.0, METRICS, usual).add(pages("a", (0, 0), (700, 300)), {}) is not None


def test_a_metric_that_is_no_criterion_is_not_looked_at() -> None:
    harm = SuddenHarm(0.0, (Metric.TTFT,), None)
    assert harm.add(pages("a", (0, 0), (10, 90)), pages("b", (0, 0), (900, 0))) is None


def test_the_canary_that_is_worst_off_is_named() -> None:
    harm = SuddenHarm(0.0, METRICS, None)
    canary = pages("a", (0, 0), (99, 1)) | pages("b", (0, 0), (50, 50))
    found = harm.add(canary, pages("c", (0, 0), (900, 0)))
    assert found is not None
    assert found[0] == "b"


def test_restarts_are_told_apart_from_scrapes() -> None:
    harm = SuddenHarm(0.0, METRICS, None)
    assert harm.add(pages("a", (0, 0), (10, 0)), {}) is None
    assert harm.add(pages("a", (5, 0), from_s=40, started_at_s=35.0), {}) is None
    found = harm.add(pages("a", (5, 0), from_s=90, started_at_s=85.0), {})
    assert found == ("a", "2 restarts of the canary in 1 minutes of replicas")
