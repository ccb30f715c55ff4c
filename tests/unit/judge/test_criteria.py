from perfagent.domain.finding import Cause
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import Effect, Optimizer, Proposal
from perfagent.domain.verdict import Role
from perfagent.judge import criteria_for
from perfagent.judge.criteria import DEFAULT_MARGIN, LARGEST_MARGIN, judged

VLLM = frozenset(
    {Metric.TTFT, Metric.ITL, Metric.TPOT, Metric.E2E, Metric.QUEUE_TIME, Metric.GENERATION_TOKENS, Metric.FINISHED}
)


def proposal(*effects: Effect) -> Proposal:
    change = ((Knob.MAX_NUM_SEQS, 256),)
    flags = ("--max-num-seqs=256",)
    return Proposal(
        Optimizer.BATCHING, Cause.BATCH_LIMIT, change, (), flags, "more at once", effects, (), False, 0.8, 1
    )


def test_the_metric_that_the_change_is_made_for_is_the_primary_one() -> None:
    criteria = criteria_for(proposal(Effect(Metric.QUEUE_TIME, 0.1, 0.5, "rule")), VLLM)
    assert (criteria[0].metric, criteria[0].role) == (Metric.QUEUE_TIME, Role.PRIMARY)
    guards = [each.metric for each in criteria if each.role is Role.GUARDRAIL]
    assert guards == [Metric.TTFT, Metric.ITL, Metric.E2E, Metric.GENERATION_TOKENS]


def test_what_tells_whether_the_work_was_alike_is_asked_for_but_not_judged() -> None:
    criteria = criteria_for(None, VLLM | {Metric.FAILED, Metric.PROMPT_LENGTH, Metric.PREFIX_HITS})
    mixes = [each.metric for each in criteria if each.role is Role.MIX]
    assert mixes == [Metric.FINISHED, Metric.PROMPT_LENGTH, Metric.PREFIX_HITS]
    assert not {*mixes, Metric.FAILED} & {each.metric for each in judged(criteria)}


def test_a_metric_is_judged_once_though_it_is_primary_and_guardrail() -> None:
    criteria = criteria_for(proposal(Effect(Metric.TTFT, 0.1, 0.5, "rule")), VLLM)
    assert [each.metric for each in criteria].count(Metric.TTFT) == 1


def test_a_predicted_price_widens_the_margin_to_what_was_predicted_and_no_further() -> None:
    effects = Effect(Metric.TTFT, 0.1, 0.5, "rule"), Effect(Metric.ITL, 1.1, 1.5, "rule")
    margins = {each.metric: each.margin for each in criteria_for(proposal(*effects), VLLM)}
    assert margins[Metric.ITL] == 0.5
    assert margins[Metric.TTFT] == margins[Metric.E2E] == DEFAULT_MARGIN


def test_a_predicted_gain_never_narrows_the_margin() -> None:
    assert criteria_for(proposal(Effect(Metric.TTFT, 0.1, 0.2, "rule")), VLLM)[0].margin == DEFAULT_MARGIN


def test_of_throughput_the_margin_is_what_may_be_lost() -> None:
    effects = Effect(Metric.ITL, 0.5, 0.8, "rule"), Effect(Metric.GENERATION_TOKENS, 0.7, 1.0, "rule")
    margins = {each.metric: each.margin for each in criteria_for(proposal(*effects), VLLM)}
    assert abs(margins[Metric.GENERATION_TOKENS] - 0.3) < 1e-9


def test_not_all_of_the_throughput_may_be_given_up() -> None:
    effects = (Effect(Metric.GENERATION_TOKENS, 0.0, 1.0, "rule"),)
    assert criteria_for(proposal(*effects), VLLM)[0].margin == LARGEST_MARGIN


def test_an_engine_without_ttft_and_itl_is_judged_by_what_comes_nearest() -> None:
    tgi = frozenset({Metric.QUEUE_TIME, Metric.TPOT, Metric.E2E, Metric.GENERATION_TOKENS})
    assert [each.metric for each in criteria_for(None, tgi)] == [
        Metric.QUEUE_TIME,
        Metric.TPOT,
        Metric.E2E,
        Metric.GENERATION_TOKENS,
    ]


def test_a_primary_metric_that_cannot_be_judged_is_left_to_the_guardrails() -> None:
    criteria = criteria_for(proposal(Effect(Metric.PREEMPTIONS, 0.0, 0.1, "rule")), VLLM)
    assert (criteria[0].metric, criteria[0].role) == (Metric.TTFT, Role.PRIMARY)


def test_failures_are_judged_where_the_engine_counts_them() -> None:
    assert Metric.FAILED not in {each.metric for each in criteria_for(None, VLLM)}
    assert Metric.FAILED in {each.metric for each in criteria_for(None, VLLM | {Metric.FAILED})}


def test_without_any_metric_there_is_nothing_to_judge_by() -> None:
    assert criteria_for(None, frozenset({Metric.RUNNING, Metric.FAILED})) == ()
