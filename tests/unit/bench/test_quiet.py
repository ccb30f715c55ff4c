from perfagent.bench.outcome import Question
from perfagent.bench.quiet import Run, Stretch, count, runs
from perfagent.domain.finding import Cause, Diagnosis, Finding, Severity, Symptom
from perfagent.domain.incident import Incident, Stage


def stretch(*windows: str, accept: str = "", fired: str = "") -> Stretch:
    """Windows of five minutes, each written as the causes that it names, and the incidents that fired."""
    accepted = frozenset({"none", *accept.split()})
    question = Question("0/1", "healthy", "vllm", told=True, label="none", accept=accepted)
    incidents = tuple(Incident(Stage.FIRING, finding(cause), 0.0, 90.0, 3, 90.0) for cause in fired.split())
    diagnoses = tuple(diagnosis(turn, said.split()) for turn, said in enumerate(windows))
    return Stretch(question, "0.30.0", diagnoses, incidents)


def diagnosis(turn: int, causes: list[str]) -> Diagnosis:
    findings = tuple(map(finding, causes))
    return Diagnosis("instance", "window", turn * 300.0, turn * 300.0 + 300, findings, (), None)


def finding(cause: str) -> Finding:
    return Finding(Cause(cause), Symptom.HIGH_LATENCY, Severity.LOW, 1.0, "instance", "", ())


def test_neighbouring_windows_with_the_same_cause_are_one_alarm() -> None:
    said = [set[str](), {"errors"}, {"errors", "overload"}, {"overload"}, set[str](), {"errors"}]
    assert runs(said) == [Run("errors", 1, 2), Run("overload", 2, 2), Run("errors", 5, 1)]
    assert runs([]) == runs([set(), set()]) == []


def test_a_window_is_an_alarm_once_whatever_it_names() -> None:
    quiet = count([stretch("errors overload", "errors", "", ""), stretch("", "", "", "", "", "", "", "")])
    assert (quiet.stretches, quiet.fault_free_hours) == (2, 1.0)
    assert (quiet.false_alarms, quiet.distinct_alarms) == (2, 2)
    assert quiet.false_alarms_per_1000_h.value == 2000
    assert {cause: (of.windows, of.distinct) for cause, of in quiet.causes.items()} == {
        "errors": (2, 1),
        "overload": (1, 1),
    }


def test_alarms_of_two_servers_are_two() -> None:
    assert count([stretch("", "errors"), stretch("errors", "")]).distinct_alarms == 2


def test_incidents_are_counted_beside_what_single_windows_say() -> None:
    quiet = count([stretch("errors", "", "overload", fired="overload"), stretch(*[""] * 9, fired="kv_capacity")])
    assert (quiet.distinct_alarms, quiet.fired, quiet.fired_per_1000_h.value) == (2, 2, 2000)
    assert {cause: (of.distinct, of.fired) for cause, of in quiet.causes.items()} == {
        "errors": (1, 0),
        "kv_capacity": (0, 1),
        "overload": (1, 1),
    }


def test_what_the_truth_accepts_is_no_false_alarm() -> None:
    quiet = count([stretch("underused", "underused errors", accept="underused", fired="underused")])
    assert (quiet.false_alarms, quiet.fired, list(quiet.causes)) == (1, 0, ["errors"])


def test_no_stretch_is_no_measurement() -> None:
    assert count([]).false_alarms_per_1000_h.value is None
