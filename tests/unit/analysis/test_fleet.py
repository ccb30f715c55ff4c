from collections.abc import Sequence
from dataclasses import replace

import pytest

from perfagent.analysis import of_service
from perfagent.domain.errors import InvalidInput
from perfagent.domain.finding import Cause, Diagnosis, Evidence, Finding, Severity, Symptom
from perfagent.domain.metric import Metric


def one(target: str, *causes: Cause, severity: Severity = Severity.HIGH, **figures: float) -> Diagnosis:
    evidence = (Evidence(Metric.RUNNING, "mean", 8, 8, "fewer"),)
    found = tuple(Finding(c, Symptom.QUEUE_BUILDUP, severity, 0.9, target, "…", evidence) for c in causes)
    return Diagnosis(
        target, "window", 0, 60, found, (), 50.0, {"throughput_tok_s": 400.0, "itl_mean_s": 0.02} | figures
    )


def causes(seen: Diagnosis) -> list[Cause]:
    return [finding.cause for finding in seen.findings]


def test_a_single_replica_is_its_service() -> None:
    alone = one("r1", Cause.BATCH_LIMIT)
    assert of_service("chat", [alone]) is alone


def test_without_replicas_there_is_nothing_to_say() -> None:
    with pytest.raises(InvalidInput, match="no replica"):
        of_service("chat", [])


def test_what_most_replicas_show_is_the_services() -> None:
    seen = of_service(
        "chat", [one("r1", Cause.BATCH_LIMIT), one("r2", Cause.BATCH_LIMIT, severity=Severity.LOW), one("r3")]
    )
    assert causes(seen) == [Cause.BATCH_LIMIT]
    assert seen.findings[0].description.startswith("2 of 3 replicas, for example r")
    assert (seen.health, seen.figures["throughput_tok_s"]) == (50, 400)


@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_what_no_more_than_half_show_is_theirs_alone(replicas: int) -> None:
    seen = of_service("chat", [one("r1", Cause.BATCH_LIMIT), *(one(f"r{k}") for k in range(2, replicas + 1))])
    assert causes(seen) == []
    assert [(spot.subject, spot.reason) for spot in seen.blind_spots] == [
        (Cause.BATCH_LIMIT, f"only r1 of {replicas} replicas")
    ]


def peers(*itl_s: float, odd: Diagnosis) -> list[Diagnosis]:
    return [*(one(f"r{k}", itl_mean_s=value) for k, value in enumerate(itl_s)), odd]


def test_a_replica_that_is_slow_with_as_much_to_do_is_an_outlier() -> None:
    seen = of_service("chat", peers(0.02, 0.021, 0.019, odd=one("slow", itl_mean_s=0.05)))
    (finding,) = seen.findings
    assert (finding.cause, finding.target, finding.severity) == (Cause.REPLICA_OUTLIER, "slow", Severity.MEDIUM)
    assert "50 ms between tokens, its 3 peers 20 ms" in finding.description
    worse = of_service("chat", peers(0.02, 0.021, 0.019, odd=one("slow", itl_mean_s=0.08)))
    assert worse.findings[0].severity is Severity.HIGH


@pytest.mark.parametrize(
    "fleet_seen",
    [
        peers(0.02, 0.021, 0.019, odd=one("a little slower", itl_mean_s=0.025)),
        peers(0.02, 0.021, 0.019, odd=one("busier", itl_mean_s=0.05, throughput_tok_s=600)),
        peers(0.02, 0.021, odd=one("of three", itl_mean_s=0.05)),
        peers(0.02, 0.021, 0.019, odd=one("with a few tokens", itl_mean_s=0.05, throughput_tok_s=1)),
        peers(0.02, 0.021, 0.019, odd=one("with longer prompts", ttft_mean_s=9.0)),
        peers(0.01, 0.03, 0.02, 0.05, odd=one("in a motley fleet", itl_mean_s=0.05)),
        [*peers(0.02, 0.021, 0.019, odd=replace(one("idle"), figures={}))],
    ],
    ids=lambda seen: seen[-1].target,
)
def test_others_are_no_outliers(fleet_seen: Sequence[Diagnosis]) -> None:
    assert causes(of_service("chat", fleet_seen)) == []
