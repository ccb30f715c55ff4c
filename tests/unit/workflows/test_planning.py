from dataclasses import replace

import numpy as np
import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.finding import Cause
from perfagent.domain.knob import Knob, KnobValue
from perfagent.domain.metric import Metric
from perfagent.domain.policy import Bounds, Policy
from perfagent.domain.proposal import Effect, Optimizer, Proposal
from perfagent.domain.quality import Quality
from perfagent.domain.service import Service
from perfagent.domain.share import Share
from perfagent.domain.slo import Comparison, Objective, SloMetric, SloStatus
from perfagent.domain.snapshot import Target
from perfagent.domain.verdict import NO_PAST, Quiet, Role, StageRule
from perfagent.engines import effective
from perfagent.judge.noise import noise_of
from perfagent.judge.quality import shipped_prompts
from perfagent.workflows.model import Pace, Plan, Request
from perfagent.workflows.planning import Survey, check_decidable, foreseen, make_plan, nothing_to_do, paced
from support.rollouts import BEFORE, FEWER_BITS, MORE_AT_ONCE, RELEASE, request, service

PROPOSAL = Proposal(
    optimizer=Optimizer.BATCHING,
    cause=Cause.BATCH_LIMIT,
    change=MORE_AT_ONCE,
    prior=((Knob.MAX_NUM_SEQS, 8),),
    flags=("--max-num-seqs=64",),
    description="let 64 requests run at once",
    effects=(Effect(Metric.TTFT, 0.1, 0.5, "rule"), Effect(Metric.ITL, 1.0, 1.4, "rule")),
    risks=("longer gaps between tokens",),
    needs_approval=False,
    confidence=0.8,
    priority=1,
)
SURVEY = Survey(
    effective("vllm", BEFORE, {}, {}, RELEASE),
    frozenset({Metric.TTFT, Metric.ITL, Metric.E2E, Metric.GENERATION_TOKENS}),
    (PROPOSAL,),
)
FIND_ONE = Request("chat", "ann")


def planned(
    asked: Request = FIND_ONE, *, of: Service | None = None, survey: Survey = SURVEY, scrape_s: float = 5.0
) -> Plan:
    plan = make_plan(asked, of or service(4), survey, paced(asked, (of or service(4)).policy, Pace(), scrape_s))
    assert plan is not None
    return plan


def test_a_plan_says_exactly_what_will_be_done() -> None:
    plan = planned()
    assert plan.change == MORE_AT_ONCE
    assert plan.prior == ((Knob.MAX_NUM_SEQS, 8),)
    assert plan.flags == ("--max-num-seqs=64",)
    assert plan.release == RELEASE
    assert plan.cause is Cause.BATCH_LIMIT
    assert (plan.description, plan.effects, plan.risks) == (PROPOSAL.description, PROPOSAL.effects, PROPOSAL.risks)
    assert [(c.metric, c.role, round(c.margin, 2)) for c in plan.criteria[:2]] == [
        (Metric.TTFT, Role.PRIMARY, 0.15),
        (Metric.ITL, Role.GUARDRAIL, 0.4),
    ]
    assert make_plan(FIND_ONE, service(4), SURVEY, paced(FIND_ONE, Policy(), Pace(), 5.0)) == plan


def test_the_stages_are_replicas_by_id_and_each_holds_the_one_before() -> None:
    shuffled = replace(service(10), targets=tuple(reversed(service(10).targets)))
    plan = planned(of=shuffled)
    assert [(s.percent, s.actual_percent, len(s.targets)) for s in plan.stages] == [
        (10, 10, 1),
        (50, 50, 5),
        (100, 100, 10),
    ]
    assert plan.stages[1].targets[:1] == plan.stages[0].targets == ("chat-0",)
    assert plan.stages[2].targets == tuple(target.id for target in plan.targets)


def test_what_rounding_makes_of_a_share_is_in_the_plan() -> None:
    assert [stage.actual_percent for stage in planned(of=service(3)).stages] == pytest.approx([100 / 3, 200 / 3, 100])


def test_a_change_that_a_person_gives_needs_no_finding() -> None:
    plan = planned(request(change={Knob.MAX_NUM_SEQS: 32}))
    assert plan.change == ((Knob.MAX_NUM_SEQS, 32),)
    assert plan.description == "max_num_seqs = 32, as ann asks"
    assert plan.effects == ()
    assert {criterion.margin for criterion in plan.criteria} == {0.15}


def test_a_person_who_gives_the_proposed_change_gets_what_is_known_of_it() -> None:
    assert planned(request()).effects == PROPOSAL.effects


EIGHT_BITS = {Knob.KV_CACHE_DTYPE: "fp8"}
MANY = {Knob.MAX_NUM_SEQS: 64}


@pytest.mark.parametrize(
    ("policy", "change", "asked_for"),
    [
        (Policy(), MANY, ()),
        (Policy(), EIGHT_BITS, ("kv_cache_dtype may alter answers",)),
        (Policy(approval="always"), MANY, ("the policy asks for approval of every change",)),
        (Policy(approval="never"), EIGHT_BITS, ()),
        (Policy(allow=(Knob.MAX_NUM_SEQS,)), MANY, ()),
        (
            Policy(approval="never", allow=(Knob.MAX_NUM_SEQS,)),
            EIGHT_BITS,
            ("kv_cache_dtype is not among the knobs that the policy allows",),
        ),
        (Policy(bounds=(Bounds(Knob.MAX_NUM_SEQS, most=64),)), MANY, ()),
        (
            Policy(approval="never", bounds=(Bounds(Knob.MAX_NUM_SEQS, most=63),)),
            MANY,
            ("max_num_seqs = 64 is above the policy's max of 63",),
        ),
    ],
)
def test_the_policy_says_what_needs_approval_and_the_plan_says_why(
    policy: Policy, change: dict[Knob, KnobValue], asked_for: tuple[str, ...]
) -> None:
    plan = planned(request(change=change), of=replace(service(4), policy=policy))
    assert plan.asked_for == asked_for
    assert plan.needs_approval is bool(asked_for)


@pytest.mark.parametrize(("chance", "asked_for"), [(0.95, ()), (0.6, ("it is for the better in only 60% of what",))])
def test_what_is_not_surely_for_the_better_needs_approval(chance: float, asked_for: tuple[str, ...]) -> None:
    plan = planned(survey=replace(SURVEY, proposals=(replace(PROPOSAL, chance=chance),)))
    assert [said[: len(like)] for said, like in zip(plan.asked_for, asked_for, strict=True)] == list(asked_for)


def test_a_plan_that_may_alter_answers_says_what_is_asked_and_how_far_answers_may_differ() -> None:
    fewer_bits = request(change=FEWER_BITS)
    assert planned().quality is None
    assert planned(fewer_bits).quality == Quality(shipped_prompts())
    operators = make_plan(fewer_bits, service(), SURVEY, Pace(), ("the operator's",))
    assert operators is not None
    assert operators.quality == Quality(("the operator's",))
    own = Quality(("its own",), tokens_differ=0.2, probability_shift=0.1)
    assert planned(fewer_bits, of=replace(service(), policy=Policy(quality=own))).quality == own


def test_a_proposal_that_needs_approval_makes_a_plan_that_does() -> None:
    plan = planned(survey=replace(SURVEY, proposals=(replace(PROPOSAL, needs_approval=True),)))
    assert plan.asked_for == ("it is proposed for a person to decide",)


def standing(
    metric: SloMetric, target: float, current: float | None, *, share: float | None = None, at_least: bool = False
) -> SloStatus:
    comparison = Comparison.GREATER_THAN if at_least or share else Comparison.LESS_THAN
    wanted = target if share is None else share
    held = (
        None if current is None else current >= wanted if comparison is Comparison.GREATER_THAN else current <= wanted
    )
    objective = Objective(metric, target, Comparison.GREATER_THAN if at_least else Comparison.LESS_THAN, share=share)
    return SloStatus(objective, current, held, "")


@pytest.mark.parametrize(
    ("status", "asks"),
    [
        (standing(SloMetric.ITL, 0.05, 0.03), False),
        (standing(SloMetric.ITL, 0.05, 0.04), True),
        (standing(SloMetric.ITL, 0.05, 0.06), False),
        (standing(SloMetric.ITL, 0.05, None), False),
        (standing(SloMetric.ITL, 0.05, 0.97, share=0.95), True),
        (standing(SloMetric.TTFT, 0.5, 0.97, share=0.95), False),
        (standing(SloMetric.TTFT, 0.5, 0.49), False),
        (standing(SloMetric.THROUGHPUT, 100, 115, at_least=True), True),
        (standing(SloMetric.THROUGHPUT, 100, 130, at_least=True), False),
        (standing(SloMetric.QUEUE_SIZE, 1, 0.9), False),
    ],
)
def test_where_only_rules_of_thumb_speak_an_objective_that_holds_must_surely_hold(
    status: SloStatus, asks: bool
) -> None:
    proposal = replace(PROPOSAL, effects=(*PROPOSAL.effects, Effect(Metric.GENERATION_TOKENS, 0.8, 2.0, "rule")))
    survey = replace(SURVEY, proposals=(proposal,), objectives=(status,))
    assert planned(survey=survey).needs_approval is asks


def test_what_the_agent_proposes_beyond_the_bounds_is_left_to_a_person_and_the_next_best_is_taken() -> None:
    more = replace(PROPOSAL, change=((Knob.MAX_NUM_SEQS, 256),))
    survey = replace(SURVEY, proposals=(more, PROPOSAL))
    bounded = replace(service(4), policy=Policy(bounds=(Bounds(Knob.MAX_NUM_SEQS, most=100),)))
    assert planned(of=bounded, survey=survey).change == MORE_AT_ONCE
    asked = request(change={Knob.MAX_NUM_SEQS: 256})
    assert planned(asked, of=bounded, survey=survey).effects == PROPOSAL.effects
    assert planned(asked, of=bounded, survey=survey).needs_approval
    beyond = replace(survey, proposals=(more,))
    assert make_plan(FIND_ONE, bounded, beyond, Pace()) is None
    assert nothing_to_do(FIND_ONE, bounded, beyond).endswith("max_num_seqs = 256 is above the policy's max of 100")


def test_the_policy_says_how_many_replicas_restart_at_a_time_and_how_long_an_approval_is_waited_for() -> None:
    plan = planned(of=replace(service(4), policy=Policy(max_unready=2, approval_timeout_s=60.0)))
    assert (plan.pace.max_unready, plan.pace.approval_timeout_s) == (2, 60.0)


def test_without_a_proposal_or_with_what_is_already_so_there_is_nothing_to_do() -> None:
    assert make_plan(FIND_ONE, service(), replace(SURVEY, proposals=()), Pace()) is None
    assert make_plan(request(change={Knob.MAX_NUM_SEQS: 8}), service(), SURVEY, Pace()) is None


def test_a_change_that_could_not_be_judged_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no metric by which"):
        planned(survey=replace(SURVEY, available=frozenset({Metric.RUNNING})))


def test_a_change_beyond_what_is_safe_is_refused() -> None:
    with pytest.raises(InvalidInput, match="max_num_seqs"):
        planned(request(change={Knob.MAX_NUM_SEQS: 0}))


@pytest.mark.parametrize(
    "broken",
    [
        replace(service(), targets=()),
        replace(service(), policy=Policy(stages=())),
        replace(service(), policy=Policy(stages=(Share(50), Share(10), Share(100)))),
        replace(service(), policy=Policy(stages=(Share(50), Share(50)))),
    ],
)
def test_stages_that_do_not_widen_are_refused(broken: Service) -> None:
    with pytest.raises(InvalidInput, match="stages that widen"):
        planned(of=broken)


@pytest.mark.parametrize(("monitoring_s", "scrape_s", "windows"), [(600, 5, 10), (120, 5, 8), (30, 5, 5), (600, 60, 5)])
def test_an_observation_is_cut_so_that_its_windows_hold_several_scrapes(
    monitoring_s: float, scrape_s: float, windows: int
) -> None:
    plan = planned(request(monitoring_s=monitoring_s), scrape_s=scrape_s)
    assert plan.pace.windows == windows
    assert plan.pace.warm_up_s == pytest.approx(monitoring_s / 10)


def test_the_release_that_was_told_is_used_where_the_server_does_not_say() -> None:
    unknown = replace(SURVEY, config=replace(SURVEY.config, release=None))
    assert planned(survey=unknown).release == RELEASE


def test_a_service_of_one_replica_is_a_fleet_too() -> None:
    alone = replace(service(1), targets=(Target("only", "http://only"),))
    assert [stage.targets for stage in planned(of=alone).stages] == [("only",)] * 3


def test_what_each_stage_will_tell_is_foreseen() -> None:
    plan = planned(of=service(10))
    told = foreseen(plan, NO_PAST)
    assert [each.percent for each in told] == [10, 50, 100]
    assert [each.rule for each in told] == [StageRule.NO_HARM, StageRule.NOT_INFERIOR, StageRule.WATCH]
    assert all(each.assumed and 0 < each.hold_chance < 1 for each in told)
    assert told[1].detectable < told[0].detectable


def restless(fast: float) -> Quiet:
    drawn = np.random.default_rng(1).normal(0, fast, (10, 72))
    metrics = (Metric.TTFT, Metric.ITL, Metric.E2E, Metric.GENERATION_TOKENS)
    return Quiet(tuple(noise_of(metric, drawn, 300.0) for metric in metrics), 10, 72, 300.0)


def test_a_plan_that_cannot_decide_is_refused_with_what_would_help() -> None:
    plan = planned(request(), of=service(2))
    check_decidable(replace(plan, outlook=foreseen(plan, restless(0.01))))
    check_decidable(replace(plan, outlook=foreseen(plan, NO_PAST)))
    with pytest.raises(InvalidInput, match=r"cannot decide: at 10 % .* monitor longer, or promote by hand"):
        check_decidable(replace(plan, effects=(), outlook=foreseen(plan, restless(1.0))))
    check_decidable(replace(plan, effects=PROPOSAL.effects, outlook=foreseen(plan, restless(1.0))))
