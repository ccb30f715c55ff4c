"""Proposals that the twin has played: on emulated servers whose traffic and step times are known."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from perfagent import engines
from perfagent.analysis import diagnose
from perfagent.bench.tuning import problem, watched_trial
from perfagent.collectors.recording import read_recording, view
from perfagent.domain.errors import InvalidInput
from perfagent.domain.finding import Cause, Diagnosis, Evidence, Finding, Severity, Symptom
from perfagent.domain.knob import Change, EffectiveConfig, Knob, KnobValue, change_of
from perfagent.domain.machine import CPU, Machine
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import Proposal
from perfagent.domain.slo import Comparison, Objective, SloMetric, Statistic
from perfagent.emulator.setup import StartFailed, prepare
from perfagent.forecast import Case, Figure, Forecaster, Load, Run, case
from perfagent.forecast import server as servers
from perfagent.optimizers import TUNABLE, Effort, Tuned, advise, propose, search
from perfagent.optimizers.candidates import Candidate, candidates, with_small_steps
from perfagent.optimizers.search import KEPT, REPLICAS_DRAWS, SURE
from support import fleets, watched
from support.captures import FIXTURES

QUICK = Effort(screening=2, finalists=2, doubtful=1, draws=4)
ENOUGH = Effort(screening=6, finalists=2, doubtful=0, draws=24)
SURER = Effort(screening=2, finalists=1, doubtful=0, draws=16)
"""Where nothing is for the better: of four draws all may be lucky."""
SLOW = 3.0
"""So much longer than by their data sheet do the servers' steps take: fewer are played in the same time."""
PINNED = ("--max-num-seqs=4",)
STUCK = ("--max-num-seqs=4", "--max-num-active-seqs=4")
"""Two limits on what runs at once: to raise one of them changes nothing."""
ROOMY = ("--max-num-seqs=64",)
STARVED = ("--num-gpu-blocks-override=160", "--max-model-len=2400")
LONG_S = 24.0
"""So much of a server that was empty at first is enough to see that its seats are always taken."""
RATE_PER_S = 2.0
"""What four seats serve half of."""


@cache
def seen(*flags: str, rate_per_s: float = RATE_PER_S, on: Machine = Machine("l40s")) -> Case:  # noqa: B008
    window = watched.window(*flags, rate_per_s=rate_per_s, slowness=SLOW)
    part = window.between(window.start_s, window.start_s + LONG_S)
    assert part is not None
    return case(part, watched.config(*flags), fleets.launch(watched.EMULATED, *flags), on)


@cache
def asker(*flags: str, rate_per_s: float = RATE_PER_S, on: Machine = Machine("l40s")) -> Forecaster:  # noqa: B008
    return Forecaster(seen(*flags, rate_per_s=rate_per_s, on=on))


def found(of: Case, *flags: str) -> Diagnosis:
    return diagnose(of.window, watched.config(*flags))


def finding(cause: Cause, limit: float = 4) -> Finding:
    evidence = (Evidence(Metric.RUNNING, "mean while others wait", limit, limit, "running below the limit"),)
    return Finding(cause, Symptom.QUEUE_BUILDUP, Severity.HIGH, 0.9, "r1", "…", evidence)


@cache
def tuned(*flags: str, objectives: tuple[Objective, ...] = ()) -> Tuned:
    """What comes out for the findings that such a server really has, with twice the load that four seats serve."""
    of = asker(*flags)
    effort = SURER if flags == STUCK else QUICK
    return search(found(of.of, *flags), watched.config(*flags), of, objectives, effort=effort)


def values(proposals: Sequence[Proposal], knob: Knob) -> list[KnobValue]:
    return [value for proposal in proposals for changed, value in proposal.change if changed is knob]


def figures(proposal: Proposal, figure: Figure) -> tuple[float, float]:
    """After the change and now."""
    told = proposal.forecast[figure.value]
    assert told.now is not None
    return told.value, told.now


# What is for the better


def test_a_server_pinned_at_few_seats_gets_more_with_what_that_will_bring() -> None:
    first = tuned(*PINNED).proposals[0]
    ((knob, seats),) = first.change
    assert knob is Knob.MAX_NUM_SEQS
    assert isinstance(seats, int)
    assert seats > 4
    assert first.cause is Cause.BATCH_LIMIT
    assert first.flags == (f"--max-num-seqs={seats}",)
    assert first.prior == ((Knob.MAX_NUM_SEQS, 4),)
    assert set(first.forecast) == {figure.value for figure in Figure}
    ttft, ttft_now = figures(first, Figure.TTFT_MEAN)
    assert ttft < ttft_now / 10
    throughput, throughput_now = figures(first, Figure.THROUGHPUT)
    assert throughput > 1.5 * throughput_now
    assert first.chance == 1.0
    assert first.confidence == 1.0
    assert tuned(*PINNED).replicas is None


def test_effects_are_ratios_of_the_same_luck_and_the_improvement_comes_first() -> None:
    effects = tuned(*PINNED).proposals[0].effects
    assert effects[0].metric is Metric.TTFT
    assert effects[0].direction == "down"
    by_metric = {effect.metric: effect for effect in effects}
    assert by_metric[Metric.GENERATION_TOKENS].direction == "up"
    assert by_metric[Metric.ITL].high_ratio > 1  # the price: more requests share each step
    for effect in effects:
        assert effect.low_ratio <= effect.high_ratio
        assert effect.basis.startswith("the twin")


def test_of_changes_that_are_equally_good_the_smaller_one_is_preferred() -> None:
    first, second, *_ = values(tuned(*PINNED).proposals, Knob.MAX_NUM_SEQS)
    assert isinstance(first, int)
    assert isinstance(second, int)
    assert first < second
    of = asker(*PINNED)
    after = [of.predict(((Knob.MAX_NUM_SEQS, many),), draws=2, nudged=0).figures for many in (first, second, 2048)]
    for figure in (Figure.THROUGHPUT, Figure.E2E_MEAN):
        for larger in after[1:]:
            assert after[0][figure].value == pytest.approx(larger[figure].value, rel=0.02)


def test_nothing_is_changed_without_a_finding() -> None:
    of = asker(*PINNED)
    nothing = replace(found(of.of, *PINNED), findings=())
    assert search(nothing, watched.config(*PINNED), of, effort=QUICK) == Tuned((), None, 0)


def tried(*promoted: tuple[Cause, Change]) -> list[Candidate]:
    of = asker(*PINNED).of
    return list(candidates(found(of, *PINNED), watched.config(*PINNED), of.server, promoted))


def test_what_was_promoted_for_the_same_cause_is_played_first() -> None:
    """A pair of knobs, which no table has; and a value that the table has too, which keeps the table's words."""
    pair = change_of({Knob.MAX_NUM_SEQS: 24, Knob.MAX_NUM_BATCHED_TOKENS: 1024})
    sixteen = ((Knob.MAX_NUM_SEQS, 16),)
    usual = {each.change: each for each in tried()}
    assert pair not in usual
    found = tried((Cause.BATCH_LIMIT, pair), (Cause.BATCH_LIMIT, sixteen))
    assert {each.change for each in found[:2]} == {pair, sixteen}
    assert all(each.by_rule for each in found[:2])
    assert {each.change for each in found} == {*usual, pair}
    words = {each.change: each.draft.description for each in found}
    assert words[pair].endswith("that was promoted for batch_limit before.")
    assert words[sixteen] == usual[sixteen].draft.description


@pytest.mark.parametrize(
    ("cause", "change"),
    [
        (Cause.KV_CAPACITY, ((Knob.MAX_NUM_SEQS, 24),)),
        (Cause.BATCH_LIMIT, ((Knob.MAX_NUM_SEQS, 4),)),
        (Cause.BATCH_LIMIT, ((Knob.GPU_MEMORY_UTILIZATION, 1.5),)),
        (Cause.BATCH_LIMIT, ((Knob.MIXED_CHUNK, True),)),
    ],
    ids=["for another cause", "in force already", "out of bounds", "not of this engine"],
)
def test_what_was_promoted_elsewhere_and_makes_no_sense_here_is_not_played(cause: Cause, change: Change) -> None:
    assert tried((cause, change)) == tried()


def test_what_was_promoted_before_is_proposed_where_the_twin_agrees() -> None:
    of = asker(*PINNED)
    effort = replace(QUICK, finalists=40, doubtful=40)
    five = ((Knob.MAX_NUM_SEQS, 5),)
    answers = search(
        found(of.of, *PINNED), watched.config(*PINNED), of, effort=effort, promoted=[(Cause.BATCH_LIMIT, five)]
    )
    assert five in {proposal.change for proposal in answers.proposals}
    assert five not in {proposal.change for proposal in tuned(*PINNED).proposals}


def test_progress_rises_from_nothing_to_all() -> None:
    shares: list[float] = []
    of = asker(*STUCK)
    search(found(of.of, *STUCK), watched.config(*STUCK), of, progress=shares.append, effort=Effort(1, 1, 1, 1))
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


# Objectives


def tight(of: Forecaster) -> Objective:
    """A mean gap between tokens that holds today, draw by draw, and would not in a fuller batch."""
    today = [of.today(turn).figures[Figure.ITL_MEAN] for turn in range(QUICK.draws)]
    return Objective(SloMetric.ITL, 1.001 * max(today))


def test_an_objective_that_holds_today_is_never_put_at_risk() -> None:
    of = asker(*PINNED)
    objective = tight(of)
    ((_, best),) = tuned(*PINNED).proposals[0].change
    broken = of.predict(((Knob.MAX_NUM_SEQS, best),), draws=QUICK.draws, nudged=0)
    assert not all(holds(run, objective) for run in broken.runs)
    kept = tuned(*PINNED, objectives=(objective,))
    for proposal in kept.proposals:
        again = of.predict(proposal.change, draws=QUICK.draws, nudged=0)
        assert sum(holds(run, objective) for run in again.runs) >= KEPT * QUICK.draws
    assert best not in values(kept.proposals, Knob.MAX_NUM_SEQS)


def test_an_objective_that_is_missed_already_holds_nothing_up() -> None:
    missed = Objective(SloMetric.KV_CACHE_USAGE, 0.0001)
    assert tuned(*PINNED, objectives=(missed,)) == tuned(*PINNED)


def test_with_objectives_on_latency_better_is_what_keeps_them() -> None:
    wanted = Objective(SloMetric.TTFT, 1.0, share=0.9)
    first = tuned(*PINNED, objectives=(wanted,)).proposals[0]
    of = asker(*PINNED)
    after = of.predict(first.change, of.of.demand, draws=QUICK.draws, nudged=0)
    assert all(holds(run, wanted) for run in after.runs)
    assert not any(holds(run, wanted) for run in after.today)


def test_objectives_that_the_twin_does_not_play_change_nothing() -> None:
    objectives = (Objective(SloMetric.ERROR_RATE, 0.01), Objective(SloMetric.QUEUE_TIME, 1.0))
    assert tuned(*PINNED, objectives=objectives) == tuned(*PINNED)


# What rules propose, and the twin doubts


@cache
def starved() -> Tuned:
    """With the number of blocks fixed, 8 bits per cached number bring no room: they only change the speed."""
    of = asker(*STARVED, rate_per_s=4.0, on=watched.L40S)
    return search(found(of.of, *STARVED), watched.config(*STARVED), of, effort=replace(QUICK, doubtful=3))


def test_what_is_sure_comes_first() -> None:
    proposals = starved().proposals
    assert proposals[0].change == ((Knob.KV_CACHE_TOKENS, 320),)
    sure = [one.chance is not None and one.chance >= SURE for one in proposals]
    assert sure == sorted(sure, reverse=True)
    assert sure[0]
    assert [proposal.priority for proposal in proposals] == list(range(1, len(proposals) + 1))


def test_what_rules_propose_and_the_twin_doubts_is_told_with_its_chance() -> None:
    """A larger budget brings first tokens sooner and holds the others up: without objectives neither is better."""
    recording = read_recording(FIXTURES / "vllm-0.26.0-h200" / "rag_bt512")
    window, config = view(recording)
    of = Forecaster(case(window, config, recording.launch, recording.machine))
    seen = diagnose(window, config)
    (doubted,) = search(seen, config, of, effort=Effort(screening=1, finalists=1, doubtful=3, draws=12)).proposals
    assert doubted.change in [rule.change for rule in propose(seen, config, "vllm")]
    assert doubted.chance is not None
    assert 1 - SURE < doubted.chance < SURE
    assert doubted.needs_approval
    assert any("of what may come" in risk for risk in doubted.risks)
    assert doubted.confidence == pytest.approx(seen.findings[0].confidence * doubted.chance, abs=0.01)


def test_what_may_alter_answers_still_needs_approval() -> None:
    altering = {Knob.QUANTIZATION, Knob.KV_CACHE_DTYPE}
    assert any(proposal.needs_approval for proposal in starved().proposals)
    for proposal in starved().proposals:
        assert proposal.needs_approval == any(knob in altering for knob, _ in proposal.change)


def test_causes_that_the_twin_does_not_play_keep_what_the_rules_propose() -> None:
    flags = (*PINNED, "--no-enable-prefix-caching")
    of, config = asker(*PINNED), watched.config(*flags)
    both = replace(found(of.of, *PINNED), findings=(finding(Cause.PREFIX_CACHE), finding(Cause.BATCH_LIMIT)))
    answers = search(both, config, of, effort=Effort(1, 1, 0, 2)).proposals
    assert [proposal.cause for proposal in answers] == [Cause.BATCH_LIMIT, Cause.PREFIX_CACHE]
    rule = answers[-1]
    assert rule.change == ((Knob.ENABLE_PREFIX_CACHING, True),)
    assert (rule.forecast, rule.chance) == ({}, None)
    assert rule.priority == 2
    (expected,) = propose(replace(both, findings=both.findings[:1]), config, "vllm")
    assert replace(rule, priority=1) == expected


# What is not asked


def test_what_makes_no_difference_is_not_asked_again() -> None:
    """64 seats serve all that come at once, and no step is filled with 2048 tokens."""
    of = asker(*PINNED)
    runs = [of.predict(((Knob.MAX_NUM_SEQS, seats),), draws=2, nudged=0).runs for seats in (128, 2048)]
    assert [run.figures for run in runs[0]] == [run.figures for run in runs[1]]
    seats, budgets = {2**power for power in range(13)} - {4}, {2**power for power in range(8, 17)} - {2048}
    assert tuned(*PINNED).asked <= len({many for many in seats if many <= 128} | {16}) + len(budgets)


def test_what_makes_no_difference_is_not_proposed() -> None:
    """However lucky its draws are, which differ from today's by what the twin may get wrong."""
    of, config = asker(*ROOMY), watched.config(*ROOMY)
    roomy = replace(found(of.of, *ROOMY), findings=(finding(Cause.BATCH_LIMIT, 64),))
    (more,) = values(propose(roomy, config, "vllm"), Knob.MAX_NUM_SEQS)
    assert isinstance(more, int)
    assert more > 64
    answers = search(roomy, config, of, effort=replace(QUICK, finalists=40, doubtful=40)).proposals
    assert all(value < 64 for value in values(answers, Knob.MAX_NUM_SEQS) if isinstance(value, int))


def test_a_change_with_which_the_server_would_not_start_is_left_out() -> None:
    """Larger steps need memory, and the cache holds hardly more than one request may have."""
    flags = (*PINNED, "--gpu-memory-utilization=0.72", "--max-model-len=131072")
    of = asker(*flags, on=watched.L40S)
    with pytest.raises(InvalidInput, match="would not start"):
        servers.changed(of.of.server, ((Knob.MAX_NUM_BATCHED_TOKENS, 16384),))
    budget = replace(found(of.of, *flags), findings=(finding(Cause.PREFILL_BUDGET),))
    answers = search(budget, watched.config(*flags), of, effort=Effort(1, 2, 2, 1)).proposals
    assert answers
    for proposal in answers:
        servers.changed(of.of.server, proposal.change)


def test_a_change_of_memory_that_nobody_can_foretell_is_left_out() -> None:
    of = asker(*PINNED, on=Machine())
    starved = replace(found(of.of, *PINNED), findings=(finding(Cause.KV_CAPACITY),))
    config = watched.config(*PINNED, "--gpu-memory-utilization=0.8")
    assert values(propose(starved, config, "vllm"), Knob.GPU_MEMORY_UTILIZATION)
    assert not values(search(starved, config, of, effort=Effort(1, 1, 2, 1)).proposals, Knob.GPU_MEMORY_UTILIZATION)


# When nothing helps


def holds(run: Run, objective: Objective) -> bool:
    value = run.value(objective)
    if value is None:
        return False
    if objective.share is not None:
        return value >= objective.share
    return value <= objective.target if objective.comparison is Comparison.LESS_THAN else value >= objective.target


def with_replicas(of: Forecaster, times: float) -> list[Run]:
    share = Load(scale=1 / times).of(of.of.demand)
    return [of.after(turn, of.of.server, share) for turn in range(REPLICAS_DRAWS)]


def test_where_nothing_helps_the_number_of_replicas_is_told_and_is_enough() -> None:
    answers = tuned(*STUCK)
    assert answers.proposals == ()
    assert answers.replicas is not None
    waiting, with_fewer = (
        sorted(run.figures[Figure.WAITING] for run in with_replicas(asker(*STUCK), times))
        for times in (answers.replicas, answers.replicas - 1)
    )
    assert waiting[REPLICAS_DRAWS // 2] < 1 <= with_fewer[REPLICAS_DRAWS // 2]


def test_replicas_are_as_many_as_keep_the_objectives() -> None:
    of = asker(*STUCK)
    kept = Objective(SloMetric.ITL, 1.5 * of.today(0).figures[Figure.ITL_MEAN])
    objectives = (Objective(SloMetric.TTFT, 1.0, statistic=Statistic.P95), kept)
    answers = tuned(*STUCK, objectives=objectives)
    assert answers.proposals == ()
    assert answers.replicas is not None
    for objective in objectives:
        assert all(holds(run, objective) for run in with_replicas(of, answers.replicas))
    plain = tuned(*STUCK).replicas
    assert plain is not None
    assert answers.replicas >= plain


def test_what_no_number_of_replicas_brings_has_none_told() -> None:
    assert tuned(*STUCK, objectives=(Objective(SloMetric.ITL, 0.001),)).replicas is None


def test_objectives_that_the_twin_does_not_play_leave_the_queue_to_say_how_many_replicas() -> None:
    assert tuned(*STUCK, objectives=(Objective(SloMetric.ERROR_RATE, 0.01),)).replicas == tuned(*STUCK).replicas


def test_all_replicas_together_bring_a_throughput_and_keep_a_queue() -> None:
    today = asker(*STUCK).today(0).figures[Figure.THROUGHPUT]
    more = Objective(SloMetric.THROUGHPUT, 1.5 * today, Comparison.GREATER_THAN)
    replicas = tuned(*STUCK, objectives=(more,)).replicas
    assert replicas is not None
    assert all(
        replicas * run.figures[Figure.THROUGHPUT] >= more.target for run in with_replicas(asker(*STUCK), replicas)
    )
    short = Objective(SloMetric.QUEUE_SIZE, 1.0)
    replicas = tuned(*STUCK, objectives=(short,)).replicas
    assert replicas is not None
    assert all(replicas * run.figures[Figure.WAITING] <= 1.0 for run in with_replicas(asker(*STUCK), replicas))


# Whatever the server


RELEASES = {"vllm": "0.33.0", "sglang": "0.5.23", "tgi": "3.3.7"}
SEATS = {"vllm": "--max-num-seqs", "sglang": "--max-running-requests", "tgi": "--max-concurrent-requests"}
MEMORY = {"vllm": "--gpu-memory-utilization", "sglang": "--mem-fraction-static", "tgi": "--cuda-memory-fraction"}


@given(
    engine=st.sampled_from(sorted(RELEASES)),
    gpu=st.sampled_from(["l40s", "h100"]),
    seats=st.sampled_from([None, 2, 8, 64]),
    memory=st.sampled_from([None, 0.72, 0.9]),
    rate_per_s=st.sampled_from([2.0, 4.0]),
    cause=st.sampled_from(sorted(TUNABLE)),
    told=st.sampled_from(["all", "gpu", "nothing", "cpu"]),
    seed=st.integers(0, 5),
)
@settings(max_examples=max(2, settings().max_examples // 8))
def test_every_proposal_is_one_that_the_engine_takes_and_that_changes_something(
    engine: str,
    gpu: str,
    seats: int | None,
    memory: float | None,
    rate_per_s: float,
    cause: Cause,
    told: str,
    seed: int,
) -> None:
    of = fleets.machine(engine, RELEASES[engine], on=gpu)
    flags = [f"{SEATS[engine]}={seats}"] * (seats is not None) + [f"{MEMORY[engine]}={memory}"] * (memory is not None)
    try:
        prepare(of, fleets.launch(of, *flags))
    except StartFailed:
        reject()
    fleet = fleets.fleet(*flags, of=of, workload=watched.chats(rate_per_s, seed))
    fleet.replicas[0].slow_down(SLOW)
    window = watched.watch(fleet)
    launch = fleets.launch(of, *flags)
    answers = of.habits.answers(fleets.process(fleet).facts())
    config: EffectiveConfig = engines.effective(engine, launch, window.snapshots[-1].info, answers, of.release)
    machine = {
        "all": Machine(gpu, 1, of.model.shape),
        "gpu": Machine(gpu),
        "cpu": Machine(CPU, 1, of.model.shape),
        "nothing": Machine(),
    }[told]
    try:
        forecaster = Forecaster(case(window, config, launch, machine))
    except InvalidInput:  # it was idle for too long, or the cards let expect something else
        reject()
    seen = replace(diagnose(window, config), findings=(finding(cause),))
    for proposal in search(seen, config, forecaster, effort=Effort(1, 2, 1, 2)).proposals:
        engines.check(engine, proposal.change, config)
        servers.changed(forecaster.of.server, proposal.change)
        for knob, value in proposal.change:
            assert config.value(knob) != value
            assert forecaster.of.server.values.get(knob) != value
        assert proposal.flags == engines.spell(engine, proposal.change, of.release)
        after = engines.render(engine, launch, proposal.change, of.release)
        assert after != launch
        if told == "all":
            prepare(of, after)


def test_more_at_once_goes_with_smaller_steps_where_alone_it_would_hold_everybody_up() -> None:
    of, config = asker(*PINNED), watched.config(*PINNED)
    first = next(one for one in candidates(found(of.of, *PINNED), config, of.of.server) if one.change[0][1] == 32)
    pairs = list(with_small_steps(first, config, of.of.server))
    budget = of.of.server.rules.max_num_batched_tokens
    assert pairs
    for pair in pairs:
        (_, seats), (_, tokens) = pair.change
        assert seats == 32
        assert isinstance(tokens, int)
        assert tokens < budget
        assert pair.size[1] > first.size[1]
        engines.check("vllm", pair.change, config)
    every = candidates(found(of.of, *PINNED), config, of.of.server)
    steps = [one for one in every if one.change[0][0] is Knob.MAX_NUM_BATCHED_TOKENS]
    assert steps
    assert all(list(with_small_steps(one, config, of.of.server)) == [] for one in steps)


def _on_gaps(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """The same targets, on every gap between tokens in place of an answer's mean one."""
    return tuple(
        replace(one, metric=SloMetric.ITL if one.metric is SloMetric.TPOT else one.metric) for one in objectives
    )


def test_where_nothing_keeps_the_objectives_more_at_all_is_a_step_on_the_way() -> None:
    """Four seats under many times their load: neither of the changes proposed serves anybody in time."""
    of = problem(3)
    window, launch = watched_trial(of, of.start, 0)
    config = engines.effective("vllm", launch, {}, {}, "0.33.0")
    asks = Forecaster(case(window, config, launch, Machine(of.sheet, 1, of.machine.model.shape)))
    first, *_ = search(diagnose(window, config), config, asks, of.objectives, effort=ENOUGH).proposals
    after = asks.predict(first.change, draws=6, nudged=0)
    for run, today in zip(after.runs, after.today, strict=True):
        assert run.figures[Figure.THROUGHPUT] > 1.5 * today.figures[Figure.THROUGHPUT]
        assert (run.value(of.objectives[1]) or 0.0) >= 0.95


def test_what_may_break_an_objective_by_itself_may_keep_it_in_smaller_steps() -> None:
    """A played problem: four seats under a load that needs more, where large pieces of prompts hold the others up."""
    of = problem(3)
    window, launch = watched_trial(of, of.start, 0)
    config = engines.effective("vllm", launch, {}, {}, "0.33.0")
    on = Machine(of.sheet, 1, of.machine.model.shape)
    asks = Forecaster(case(window, config, launch, on))
    objectives = _on_gaps(of.objectives)
    answers = search(diagnose(window, config), config, asks, objectives, effort=ENOUGH).proposals
    assert answers
    assert {Knob.MAX_NUM_SEQS, Knob.MAX_NUM_BATCHED_TOKENS} == set(dict(answers[0].change))
    after = asks.predict(answers[0].change, draws=6, nudged=0)
    for run in after.runs:
        within = run.value(objectives[1])
        assert within is not None
        assert within >= 0.95


def test_what_is_held_back_for_an_objective_is_told() -> None:
    """The objective on gaps holds only because so few are served."""
    of = problem(2)
    window, launch = watched_trial(of, of.start, 0)
    config = engines.effective("vllm", launch, {}, {}, "0.33.0")
    asks = Forecaster(case(window, config, launch, Machine(of.sheet, 1, of.machine.model.shape)))
    seen = diagnose(window, config)
    answers = search(seen, config, asks, _on_gaps(of.objectives), effort=ENOUGH)
    assert answers.proposals == ()
    assert dict(answers.held_back)[Knob.MAX_NUM_SEQS] == 32
    (advice,) = advise(seen, answers.proposals, answers.replicas, answers.held_back)
    assert "max_num_seqs=32" in advice.text
    assert "may break" in advice.text
    assert "may break" in advise(seen, (), None, answers.held_back)[0].text
