from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from perfagent.analysis.incidents import HOLD, advance
from perfagent.domain.finding import Cause, Evidence, Finding, Severity, Symptom
from perfagent.domain.incident import Incident, Stage
from perfagent.domain.metric import Metric


def found(cause: Cause, description: str = "…") -> Finding:
    evidence = (Evidence(Metric.WAITING, "mean", 9, 1, "nobody waiting"),)
    return Finding(cause, Symptom.QUEUE_BUILDUP, Severity.HIGH, 0.9, "r1", description, evidence)


def after(looks: str, every_s: float = 30.0, cause: Cause = Cause.BATCH_LIMIT) -> Mapping[Cause, Incident]:
    """`x` sees the cause, `.` does not."""
    known: Mapping[Cause, Incident] = {}
    for turn, look in enumerate(looks):
        known = advance(known, [found(cause, f"look {turn}")] if look == "x" else [], turn * every_s)
    return known


def stage(looks: str, every_s: float = 30.0) -> Stage | None:
    incident = after(looks, every_s).get(Cause.BATCH_LIMIT)
    return None if incident is None else incident.stage


def test_what_is_seen_once_or_twice_is_not_believed_and_leaves_no_trace() -> None:
    assert stage("x") is Stage.PENDING
    assert stage("xx") is Stage.PENDING
    assert stage("xx.") is None
    assert stage("x.x.x.x") is Stage.PENDING


def test_what_is_seen_until_most_of_the_window_is_new_fires_but_not_by_many_looks_in_a_moment() -> None:
    assert stage("xxxxx") is Stage.PENDING
    assert stage("xxxxxx") is Stage.FIRING
    assert stage("xxxxxx", every_s=5.0) is Stage.PENDING
    assert stage("xx", every_s=300.0) is Stage.PENDING


def test_what_fires_is_gone_only_after_a_few_looks_and_can_still_be_read() -> None:
    assert stage("xxxxxx.x.x.x.") is Stage.FIRING
    incident = after("xxxxxx....")[Cause.BATCH_LIMIT]
    assert (incident.stage, incident.fired_s, incident.resolved_s) == (Stage.RESOLVED, 150.0, 270.0)
    day = "." * int(HOLD.keep_s / 30)
    assert stage("xxxxxx...." + day) is None


def test_what_comes_back_begins_anew() -> None:
    incident = after("xxxxxx....x")[Cause.BATCH_LIMIT]
    assert (incident.stage, incident.since_s, incident.fired_s) == (Stage.PENDING, 300.0, None)


def test_an_incident_tells_the_latest_finding() -> None:
    assert after("xxxx")[Cause.BATCH_LIMIT].finding.description == "look 3"


@given(st.lists(st.sets(st.sampled_from([Cause.BATCH_LIMIT, Cause.ERRORS])), max_size=40))
def test_causes_do_not_touch_one_another(looks: list[set[Cause]]) -> None:
    both: Mapping[Cause, Incident] = {}
    for turn, seen in enumerate(looks):
        both = advance(both, [found(cause, f"look {turn}") for cause in seen], turn * 30.0)
    for cause in (Cause.BATCH_LIMIT, Cause.ERRORS):
        alone = after("".join("x" if cause in seen else "." for seen in looks), cause=cause)
        assert both.get(cause) == alone.get(cause)
