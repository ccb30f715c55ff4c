import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent import engines
from perfagent.domain.finding import Cause, Diagnosis, Evidence, Finding, Severity, Symptom
from perfagent.domain.knob import EffectiveConfig, Knob, KnobValue, LaunchConfig, Setting, Source
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import Optimizer, Proposal
from perfagent.optimizers import advise, propose


def diagnosis(cause: Cause | None, limit: float = 8, **figures: float) -> Diagnosis:
    evidence = (Evidence(Metric.RUNNING, "mean while others wait", limit, limit, "running below the limit"),)
    found = (Finding(cause, Symptom.QUEUE_BUILDUP, Severity.HIGH, 0.9, "r1", "…", evidence),) if cause else ()
    return Diagnosis("r1", "window", 0, 60, found, (), 50.0, figures)


def config(release: str = "0.33.0", **values: KnobValue) -> EffectiveConfig:
    return EffectiveConfig({Knob(knob): Setting(value, Source.FLAG) for knob, value in values.items()}, release)


def changes(proposals: tuple[Proposal, ...]) -> list[tuple[Knob, KnobValue]]:
    return [pair for proposal in proposals for pair in proposal.change]


def test_no_finding_no_proposal() -> None:
    assert propose(diagnosis(None), config(), "vllm") == ()


def test_the_running_limit_is_raised_to_what_the_arrivals_need_with_headroom() -> None:
    seen = diagnosis(
        Cause.BATCH_LIMIT, arrivals_per_s=10, finished_per_s=4, e2e_mean_s=12, queue_mean_s=9.5,
        running_mean=8, kv_usage_mean_ratio=0.02,
    )  # fmt: skip
    (proposal,) = propose(seen, config(max_num_seqs=8), "vllm")
    assert proposal.change == ((Knob.MAX_NUM_SEQS, 64),)  # 10/s × 2.5 s × 1.5 = 37.5, up to a power of two
    assert proposal.flags == ("--max-num-seqs=64",)
    assert proposal.prior == ((Knob.MAX_NUM_SEQS, 8),)
    assert not proposal.needs_approval


def test_the_running_limit_is_not_raised_past_the_room_of_the_cache() -> None:
    seen = diagnosis(Cause.BATCH_LIMIT, running_mean=8, kv_usage_mean_ratio=0.35)
    assert changes(propose(seen, config(max_num_seqs=8), "vllm")) == [(Knob.MAX_NUM_SEQS, 16)]


def test_the_running_limit_of_several_ranks_is_that_of_each() -> None:
    seen = diagnosis(
        Cause.BATCH_LIMIT, limit=16, arrivals_per_s=10, finished_per_s=4, e2e_mean_s=12, queue_mean_s=9.5,
        running_mean=16, kv_usage_mean_ratio=0.02,
    )  # fmt: skip
    assert changes(propose(seen, config(max_num_seqs=8), "vllm")) == [(Knob.MAX_NUM_SEQS, 32)]


def test_the_tighter_of_two_running_limits_is_raised_within_the_other() -> None:
    seen = diagnosis(Cause.BATCH_LIMIT, running_mean=8, kv_usage_mean_ratio=0.02)
    proposals = propose(seen, config(max_num_seqs=24, max_num_active_seqs=8), "vllm")
    assert changes(proposals) == [(Knob.MAX_ACTIVE_SEQS, 16)]
    assert proposals[0].flags == ("--max-num-active-seqs=16",)


def test_the_running_limit_stays_within_the_token_budget() -> None:
    seen = diagnosis(Cause.BATCH_LIMIT, limit=48, running_mean=48, kv_usage_mean_ratio=0.1)
    proposals = propose(seen, config(max_num_seqs=48, max_num_batched_tokens=64), "vllm")
    assert changes(proposals) == [(Knob.MAX_NUM_SEQS, 64)]


def test_a_token_budget_that_is_switched_off_bounds_nothing() -> None:
    seen = diagnosis(Cause.BATCH_LIMIT, limit=8, running_mean=8, kv_usage_mean_ratio=0.02)
    proposals = propose(seen, config("0.5.23", max_num_seqs=8, max_num_batched_tokens=-1), "sglang")
    assert changes(proposals) == [(Knob.MAX_NUM_SEQS, 32)]


def test_throughput_is_not_expected_to_grow_beyond_the_slots() -> None:
    seen = diagnosis(Cause.BATCH_LIMIT, arrivals_per_s=100, finished_per_s=1, running_mean=8, kv_usage_mean_ratio=0.1)
    (proposal,) = propose(seen, config(max_num_seqs=8), "vllm")
    (throughput,) = [effect for effect in proposal.effects if effect.metric is Metric.GENERATION_TOKENS]
    assert dict(proposal.change)[Knob.MAX_NUM_SEQS] == 32
    assert throughput.high_ratio == 4


def test_without_room_there_is_advice_instead_of_a_change() -> None:
    seen = diagnosis(Cause.BATCH_LIMIT, running_mean=8, kv_usage_mean_ratio=0.84)
    proposals = propose(seen, config(max_num_seqs=8), "vllm")
    assert proposals == ()
    assert "replicas" in advise(seen, proposals)[0].text


@pytest.mark.parametrize(
    ("engine", "release", "flags"),
    [
        ("vllm", "0.33.0", ("--max-num-batched-tokens=2048",)),
        ("sglang", "0.5.23", ("--chunked-prefill-size=2048",)),
        ("tgi", "3.3.7", ("--max-batch-prefill-tokens=2048",)),
    ],
)
def test_each_engine_spells_the_token_budget_its_own_way(engine: str, release: str, flags: tuple[str, ...]) -> None:
    (proposal,) = propose(
        diagnosis(Cause.PREFILL_BUDGET, limit=512), config(release, max_num_batched_tokens=512), engine
    )
    assert proposal.flags == flags


def test_a_starved_cache_gets_memory_first_and_what_alters_answers_only_with_approval() -> None:
    proposals = propose(diagnosis(Cause.KV_CAPACITY), config(gpu_memory_utilization=0.9, kv_cache_dtype="auto"), "vllm")
    assert changes(proposals) == [
        (Knob.GPU_MEMORY_UTILIZATION, 0.93),
        (Knob.KV_CACHE_DTYPE, "fp8"),
        (Knob.QUANTIZATION, "fp8"),
    ]
    assert [p.needs_approval for p in proposals] == [False, True, True]
    assert [p.priority for p in proposals] == [1, 2, 3]
    assert [p.optimizer for p in proposals] == [Optimizer.KV_CACHE, Optimizer.KV_CACHE, Optimizer.QUANTIZATION]


def test_memory_is_never_raised_past_the_safe_share() -> None:
    knobs = [
        knob for knob, _ in changes(propose(diagnosis(Cause.KV_CAPACITY), config(gpu_memory_utilization=0.95), "vllm"))
    ]
    assert Knob.GPU_MEMORY_UTILIZATION not in knobs


def test_what_is_in_force_is_not_proposed_again() -> None:
    in_force = config(gpu_memory_utilization=0.95, kv_cache_dtype="fp8", quantization="fp8")
    assert propose(diagnosis(Cause.KV_CAPACITY), in_force, "vllm") == ()


def test_the_eight_bit_cache_is_spelled_as_the_engine_takes_it() -> None:
    spelled = {
        engine: [
            v
            for k, v in changes(propose(diagnosis(Cause.KV_CAPACITY), config(release), engine))
            if k is Knob.KV_CACHE_DTYPE
        ]
        for engine, release in (("vllm", "0.33.0"), ("sglang", "0.5.23"), ("tgi", "3.3.7"))
    }
    assert spelled == {"vllm": ["fp8"], "sglang": ["fp8_e4m3"], "tgi": ["fp8_e4m3fn"]}


@pytest.mark.parametrize(
    ("engine", "release", "flags"),
    [
        ("vllm", "0.33.0", ("--enable-prefix-caching",)),
        ("sglang", "0.5.23", ("without --disable-radix-cache",)),
        ("tgi", "3.3.7", ("PREFIX_CACHING=1",)),
    ],
)
def test_a_prefix_cache_is_switched_on_in_each_engines_way(engine: str, release: str, flags: tuple[str, ...]) -> None:
    (proposal,) = propose(diagnosis(Cause.PREFIX_CACHE), config(release, enable_prefix_caching=False), engine)
    assert proposal.flags == flags
    assert not proposal.needs_approval


@pytest.mark.parametrize(
    ("engine", "release", "settings", "flags"),
    [
        ("vllm", "0.33.0", {"max_num_batched_tokens": 8192}, ["--max-num-batched-tokens=2048"]),
        ("vllm", "0.33.0", {"max_num_batched_tokens": 2048}, []),
        ("vllm", "0.33.0", {}, []),
        (
            "sglang",
            "0.5.23",
            {"max_num_batched_tokens": 8192, "mixed_chunk": False},
            ["--enable-mixed-chunk", "--chunked-prefill-size=2048"],
        ),
        ("tgi", "3.3.7", {"max_num_batched_tokens": 4096}, ["--max-batch-prefill-tokens=2048"]),
    ],
)
def test_prompts_that_hold_others_up_are_mixed_in_and_cut_smaller(
    engine: str, release: str, settings: dict[str, KnobValue], flags: list[str]
) -> None:
    seen = diagnosis(Cause.LONG_PROMPT_INTERFERENCE)
    proposals = propose(seen, config(release, **settings), engine)
    assert [flag for proposal in proposals for flag in proposal.flags] == flags
    assert bool(advise(seen, proposals)) == (not flags)


@pytest.mark.parametrize(("cause", "text"), [(Cause.HOST_BOUND, "cores"), (Cause.UNDERUSED, "Fewer replicas")])
def test_what_no_setting_answers_gets_advice(cause: Cause, text: str) -> None:
    assert propose(diagnosis(cause), config(), "vllm") == ()
    assert text in advise(diagnosis(cause), ())[0].text


def test_overload_is_answered_with_replicas_and_no_change() -> None:
    seen = diagnosis(Cause.OVERLOAD, arrivals_per_s=12, finished_per_s=4)
    assert propose(seen, config(max_num_seqs=256), "vllm") == ()
    assert "3.0 times the replicas" in advise(seen, ())[0].text


@given(
    cause=st.sampled_from(Cause),
    engine=st.sampled_from(["vllm", "sglang", "tgi"]),
    limit=st.floats(1, 4096),
    running=st.floats(1, 4096),
    usage=st.floats(0.001, 1),
    share=st.floats(0.1, 1),
)
def test_every_proposal_is_accepted_by_its_engine_and_changes_something(
    cause: Cause, engine: str, limit: float, running: float, usage: float, share: float
) -> None:
    release = {"vllm": "0.33.0", "sglang": "0.5.23", "tgi": "3.3.7"}[engine]
    now = config(release, gpu_memory_utilization=share, enable_prefix_caching=False)
    off = engines.render(engine, LaunchConfig(), ((Knob.ENABLE_PREFIX_CACHING, False),), release)
    seen = diagnosis(cause, limit, running_mean=running, kv_usage_mean_ratio=usage)
    for proposal in propose(seen, now, engine):
        engines.check(engine, proposal.change, now)
        assert all(now.value(knob) != value for knob, value in proposal.change)
        assert engines.render(engine, off, proposal.change, now.release) != off
