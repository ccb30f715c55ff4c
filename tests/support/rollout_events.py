"""Hypothesis strategies for everything that the journal of rollouts may hold, and one plan to tell stories with."""

from dataclasses import replace

from hypothesis import strategies as st

from perfagent.domain.knob import Knob, LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import Effect
from perfagent.domain.quality import Answer, Differing, Quality, QualityVerdict
from perfagent.domain.share import Share
from perfagent.domain.snapshot import Target
from perfagent.domain.verdict import (
    Criterion,
    Effectiveness,
    Judgement,
    Look,
    Noise,
    Outlook,
    PairedWindow,
    Quiet,
    Role,
    StageRule,
    StageVerdict,
    Verdict,
)
from perfagent.workflows.events import (
    Aborted,
    Answered,
    Applied,
    Approved,
    CanaryLost,
    Drifted,
    Event,
    Expired,
    Frozen,
    Judged,
    NothingToDo,
    Outdated,
    Paused,
    Planned,
    PlanRefused,
    PriorStored,
    Probed,
    Promoted,
    Recovered,
    Rejected,
    Requested,
    Restored,
    Restoring,
    Resumed,
    RolledBack,
    Stumbled,
    TakenOver,
    Thawed,
    Touching,
)
from perfagent.workflows.model import Captured, Edit, Pace, Plan, PlannedStage, Request

IDS = ("a", "b", "c", "d")
PLAN = Plan(
    service="chat",
    engine="vllm",
    release=None,
    actuator="fleet",
    targets=tuple(Target(each, f"http://{each}") for each in IDS),
    change=((Knob.MAX_NUM_SEQS, 64),),
    prior=(),
    flags=("--max-num-seqs=64",),
    description="more at once",
    effects=(),
    risks=(),
    needs_approval=False,
    criteria=(Criterion(Metric.TTFT, Role.PRIMARY, 0.15),),
    stages=tuple(PlannedStage(p, Share(p).actual_percent(4), IDS[: Share(p).of(4)]) for p in (10, 50, 100)),
    pace=Pace(),
)

_TIME = st.floats(min_value=0, max_value=1e10)
_NUMBER = st.floats(allow_nan=False, allow_infinity=False)
_TEXT = st.text(max_size=8)
_TEXTS = st.lists(_TEXT, max_size=3).map(tuple)
_LAUNCH = st.builds(LaunchConfig, flags=_TEXTS, env=st.lists(st.tuples(_TEXT, _TEXT), max_size=2).map(tuple))
_CHANGE = st.lists(
    st.tuples(st.sampled_from(Knob), st.booleans() | st.integers() | _NUMBER | _TEXT), min_size=1, max_size=3
).map(tuple)
_SD = st.floats(min_value=0, max_value=10)
_NOISE = st.builds(Noise, st.sampled_from(Metric), *[_SD] * 10, _SD)
_QUIET = st.builds(Quiet, st.lists(_NOISE, max_size=2).map(tuple), st.integers(0, 20), st.integers(0, 72), _SD)
_OUTLOOK = st.builds(
    Outlook,
    st.integers(1, 100),
    st.sampled_from(StageRule),
    _SD,
    _SD,
    st.sampled_from(Metric),
    _SD,
    _SD,
    st.sampled_from(Metric),
    st.booleans(),
)
_LOOK = st.builds(Look, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
_ANSWER = st.builds(Answer, _TEXTS, st.lists(_NUMBER, max_size=3).map(tuple))
_SHARE = st.floats(min_value=1e-3, max_value=1)
_QUALITY = st.builds(Quality, st.lists(st.text(min_size=1, max_size=8), max_size=2).map(tuple), _SHARE, _SHARE)
_DIFFERING = st.none() | st.builds(Differing, st.integers(0, 99), st.integers(0, 9))
_SAID = st.builds(
    QualityVerdict,
    st.sampled_from([Verdict.PROMOTE, Verdict.HOLD]),
    _TEXT,
    st.lists(_ANSWER, max_size=2).map(tuple),
    _DIFFERING,
    _DIFFERING,
    st.none() | _SHARE,
)
_CRITERION = st.builds(Criterion, st.sampled_from(Metric), st.sampled_from(Role), _NUMBER)
_MAYBE = st.none() | _NUMBER

requests = st.builds(
    Request,
    service=_TEXT,
    requested_by=_TEXT,
    requires_approval=st.booleans(),
    auto_rollout=st.booleans(),
    monitoring_s=st.floats(min_value=1e-3, max_value=1e9),
    health_threshold=st.none() | st.floats(0, 100),
    change=st.none() | _CHANGE,
    override=_TEXT,
)
plans = st.builds(
    Plan,
    service=_TEXT,
    engine=_TEXT,
    release=st.none() | _TEXT,
    actuator=_TEXT,
    targets=st.lists(st.builds(Target, _TEXT, _TEXT), max_size=3).map(tuple),
    change=_CHANGE,
    prior=_CHANGE,
    flags=_TEXTS,
    description=_TEXT,
    effects=st.lists(st.builds(Effect, st.sampled_from(Metric), _NUMBER, _NUMBER, _TEXT), max_size=2).map(tuple),
    risks=_TEXTS,
    needs_approval=st.booleans(),
    criteria=st.lists(_CRITERION, max_size=2).map(tuple),
    stages=st.lists(st.builds(PlannedStage, st.integers(1, 100), _NUMBER, _TEXTS), max_size=3).map(tuple),
    pace=st.builds(Pace, monitoring_s=_NUMBER, windows=st.integers(1, 100)),
    outlook=st.lists(_OUTLOOK, max_size=2).map(tuple),
    asked_for=_TEXTS,
    basis=st.lists(st.tuples(_TEXT, _TEXT), max_size=2).map(tuple),
    quality=st.none() | _QUALITY,
)
_WINDOWS = st.lists(
    st.builds(
        PairedWindow,
        _NUMBER,
        _NUMBER,
        st.sampled_from(Metric),
        _MAYBE,
        _MAYBE,
        _NUMBER,
        _NUMBER,
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    max_size=2,
).map(tuple)
verdicts = st.builds(
    StageVerdict,
    st.sampled_from(Verdict),
    _TEXTS,
    st.lists(
        st.builds(
            Judgement,
            _CRITERION,
            st.sampled_from(Effectiveness),
            _MAYBE,
            _MAYBE,
            _MAYBE,
            st.integers(0, 30),
            _TEXT,
        ),
        max_size=2,
    ).map(tuple),
    _WINDOWS,
    past=_WINDOWS,
    quiet=st.none() | _QUIET,
    rule=st.none() | st.sampled_from(StageRule),
    paired=st.booleans(),
    look=_LOOK,
    lost=_TEXTS,
    restarted=_TEXTS,
    warming=st.integers(0, 5),
)
_VERBS = (Paused, Resumed, Promoted, Aborted, Rejected, TakenOver)
_EDITS = st.lists(st.builds(Edit, _TEXT, _TEXT), max_size=2).map(tuple)

any_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Requested, _TIME, requests),
    st.builds(Planned, _TIME, plans),
    *(st.builds(each, _TIME, _TEXT) for each in (NothingToDo, PlanRefused, Stumbled, Outdated, Frozen)),
    st.builds(Approved, _TIME, _TEXT, _TEXT, _TEXT),
    *(st.builds(each, _TIME, _TEXT, _TEXT) for each in _VERBS),
    st.builds(
        PriorStored, _TIME, st.lists(st.builds(Captured, _TEXT, _LAUNCH, _LAUNCH), max_size=2).map(tuple), _QUIET
    ),
    *(st.builds(each, _TIME, _TEXTS) for each in (Touching, Restoring, Restored)),
    *(st.builds(each, _TIME) for each in (Applied, Expired, Recovered, Thawed)),
    st.builds(Answered, _TIME, st.lists(st.tuples(_ANSWER, _ANSWER), max_size=2).map(tuple), _TEXT),
    st.builds(Probed, _TIME, _SAID),
    st.builds(Judged, _TIME, verdicts, _MAYBE),
    st.builds(CanaryLost, _TIME, _TEXT, _TEXT),
    st.builds(Drifted, _TIME, _EDITS),
    st.builds(RolledBack, _TIME, _TEXTS, _EDITS),
)
"""Any event that can be written down, whether or not it makes sense."""


def judged(verdict: Verdict, *, at_s: float = 0.0, health: float | None = None) -> Judged:
    """A verdict without figures."""
    return Judged(at_s, StageVerdict(verdict, ("because",), (), ()), health)


ASKING_PLAN = replace(PLAN, quality=Quality(("What is it?",)))
"""A plan of which replicas are asked whether they answer as before."""
ANSWER = Answer(("a", "b"))
AS_BEFORE = QualityVerdict(Verdict.PROMOTE, "answers are as before", (ANSWER,))
NOT_AS_BEFORE = QualityVerdict(Verdict.HOLD, "answers are not as before", (ANSWER,))
UNASKED = QualityVerdict(Verdict.HOLD, "answers could not be asked for: 500")

CAPTURED = tuple(Captured(each, LaunchConfig(("old",)), LaunchConfig(("new",))) for each in IDS)
_TARGETS = st.lists(st.sampled_from(IDS), max_size=4, unique=True).map(tuple)

story_events: st.SearchStrategy[Event] = st.one_of(
    st.sampled_from([PLAN, ASKING_PLAN]).map(lambda plan: Planned(0.0, plan)),
    st.just(NothingToDo(0.0, "all is well")),
    st.just(PlanRefused(0.0, "unknown knob")),
    st.sampled_from([PLAN.hash, ASKING_PLAN.hash, "stale"]).map(
        lambda plan_hash: Approved(0.0, "ann", "fine", plan_hash)
    ),
    *(st.just(each(0.0, "ann", "so be it")) for each in _VERBS),
    st.just(PriorStored(0.0, CAPTURED)),
    *(st.builds(each, st.just(0.0), _TARGETS) for each in (Touching, Restoring, Restored, RolledBack)),
    *(st.just(each(0.0)) for each in (Applied, Expired, Recovered, Thawed)),
    st.just(Outdated(0.0, "b is started otherwise")),
    st.just(Frozen(0.0, "frozen until noon")),
    st.just(Stumbled(0.0, "no connection")),
    st.sampled_from([((ANSWER, ANSWER),), ()]).map(lambda answers: Answered(0.0, answers)),
    st.sampled_from([AS_BEFORE, NOT_AS_BEFORE, UNASKED]).map(lambda said: Probed(0.0, said)),
    st.just(CanaryLost(0.0, "a", "crashed")),
    st.sampled_from([(), (Edit("b", "max_num_seqs is 32, not 8"),)]).map(lambda edits: Drifted(0.0, edits)),
    st.builds(judged, st.sampled_from(Verdict), health=st.sampled_from([None, 20.0, 90.0])),
)
"""Events that could happen to a rollout of `PLAN` or `ASKING_PLAN`, in any order."""
