"""Pages of emulated processes, read by the reference parser and by the agent's own tables."""

from collections import defaultdict
from functools import cache

import pytest
from prometheus_client.parser import text_string_to_metric_families

from perfagent import engines
from perfagent.collectors.exposition import scan
from perfagent.domain.knob import EffectiveConfig, Knob, Source
from perfagent.domain.metric import Metric
from perfagent.emulator import Fleet
from perfagent.engines.servers import habits
from perfagent.twin import SharedPrefixes
from support.fleets import RELEASES, START_S, burst, fleet, histogram, launch, machine, page, process, scalar, snapshot
from support.pages import FIXTURES

SHARED = SharedPrefixes(pool=3, tokens=64, share=0.5)


@cache
def after_a_burst(engine: str, release: str) -> Fleet:
    """Everything that came in has been answered."""
    of = fleet(of=machine(engine, release), workload=burst(4.0, until_s=30.0, prefixes=SHARED))
    of.advance(START_S + 60)
    assert not process(of).meters.open
    return of


@pytest.mark.parametrize(("engine", "release"), RELEASES)
def test_every_engines_page_is_recognised_and_parses(engine: str, release: str) -> None:
    text = page(after_a_burst(engine, release))
    assert engines.recognise(sample.name for sample in scan(text)) == engine
    families = list(text_string_to_metric_families(text))
    assert len(families) >= 9
    assert len({family.name for family in families}) == len(families)


@pytest.mark.parametrize(("engine", "release"), RELEASES)
def test_a_page_says_that_it_is_emulated_and_where_nobody_reads_numbers(engine: str, release: str) -> None:
    first, *_ = page(after_a_burst(engine, release)).splitlines()
    assert first.startswith("# emulated by perfagent")


@pytest.mark.parametrize(("engine", "release"), RELEASES)
def test_names_types_labels_and_edges_are_those_of_the_engines_own_pages(engine: str, release: str) -> None:
    paths = sorted(FIXTURES.glob(f"engines/{engine}/*{release}*"))
    assert paths
    recorded, labels = defaultdict(set), defaultdict(set)
    for path in paths:
        for family in text_string_to_metric_families(path.read_text()):
            for sample in family.samples:
                recorded[sample.name, family.type].add(sample.labels.get("le"))
                labels[sample.name].add(frozenset(sample.labels))
    for family in text_string_to_metric_families(page(after_a_burst(engine, release))):
        for sample in family.samples:
            if sample.name.endswith("tgi_request_input_length_bucket") or "generated_tokens_bucket" in sample.name:
                continue  # their edges depend on the length limit
            assert (sample.name, family.type) in recorded, sample.name
            if sample.name.endswith("_info"):  # tells the settings that somebody reads, of many
                assert all(set(sample.labels) <= keys for keys in labels[sample.name])
            else:
                assert set(sample.labels) in labels[sample.name], sample
            if "request_prompt_tokens" not in sample.name and "request_generation_tokens" not in sample.name:
                assert sample.labels.get("le") in recorded[sample.name, family.type], sample


@pytest.mark.parametrize(("engine", "release"), RELEASES)
def test_counters_are_sums_over_the_requests(engine: str, release: str) -> None:
    of = after_a_burst(engine, release)
    requests = list(burst(4.0, until_s=30.0, prefixes=SHARED).requests())
    seen = snapshot(of)
    assert len(requests) > 80
    assert scalar(seen, Metric.FINISHED) == len(requests)
    assert scalar(seen, Metric.GENERATION_TOKENS) == sum(request.output_tokens for request in requests)
    assert scalar(seen, Metric.PROMPT_TOKENS) == sum(request.prompt_tokens for request in requests)
    assert histogram(seen, Metric.GENERATION_LENGTH).total == sum(request.output_tokens for request in requests)
    assert histogram(seen, Metric.PROMPT_LENGTH).total == sum(request.prompt_tokens for request in requests)
    assert scalar(seen, Metric.RUNNING) == scalar(seen, Metric.WAITING) == 0


@pytest.mark.parametrize(("engine", "release"), RELEASES)
def test_what_the_page_says_of_latency_is_what_clients_saw(engine: str, release: str) -> None:
    of = after_a_burst(engine, release)
    clients, told = of.seen(START_S, START_S + 60), snapshot(of)
    assert histogram(told, Metric.E2E).mean == pytest.approx(clients.e2e_mean_s)
    if Metric.TTFT in told.histograms:
        assert histogram(told, Metric.TTFT).mean == pytest.approx(clients.ttft_mean_s)
        assert histogram(told, Metric.ITL).mean == pytest.approx(clients.itl_mean_s)
    else:  # per step, whoever is in the batch
        assert engines.gap(engine, Metric.TTFT) is not None
        assert histogram(told, Metric.ITL).count < clients.finished * 60


@pytest.mark.parametrize(("engine", "release"), [pair for pair in RELEASES if pair[0] != "tgi"])
def test_prompts_are_computed_or_found_in_the_cache(engine: str, release: str) -> None:
    told = snapshot(after_a_burst(engine, release))
    hits, queries = scalar(told, Metric.PREFIX_HITS), scalar(told, Metric.PREFIX_QUERIES)
    assert queries == scalar(told, Metric.PROMPT_TOKENS)
    assert 0 < hits < queries
    if Metric.PROMPT_TOKENS_COMPUTED in told.scalars:
        assert scalar(told, Metric.PROMPT_TOKENS_COMPUTED) == queries - hits


def test_steps_hold_all_tokens_and_a_prompt_is_booked_in_the_step_that_finishes_it() -> None:
    of = fleet("--max-num-batched-tokens=128", "--max-num-seqs=64", workload=burst(4.0, until_s=30.0))
    of.advance(START_S + 60)
    steps = histogram(snapshot(of), Metric.STEP_TOKENS)
    requests = list(burst(4.0, until_s=30.0).requests())
    assert steps.total == sum(request.prompt_tokens + request.output_tokens for request in requests)
    above_the_budget = 1 - (steps.share_at_or_below(128.0) or 0)
    assert above_the_budget > 0


@pytest.mark.parametrize(("engine", "release"), RELEASES)
def test_an_agent_that_reads_a_server_back_finds_what_is_in_force(engine: str, release: str) -> None:
    of = after_a_burst(engine, release)
    facts = process(of).facts()
    answers = habits(engine).answers(facts)
    config = engines.effective(engine, launch(of.machine), snapshot(of).info, answers, release=None)
    assert config.release == release
    told = {k: s.value for k, s in config.settings.items() if s.source is Source.READ_BACK}
    assert Knob.MAX_MODEL_LEN in told
    assert {knob: facts.values[knob] for knob in told if knob is not Knob.CHUNKED_PREFILL} == {
        knob: value for knob, value in told.items() if knob is not Knob.CHUNKED_PREFILL
    }


def test_scheduler_settings_of_vllm_are_told_in_development_mode_only() -> None:
    of = fleet("--max-num-seqs=8")
    config = told_by(of)
    assert config.settings[Knob.MAX_NUM_SEQS].source is Source.FLAG
    of.apply(0, type(of.replicas[0].launch)(("--max-num-seqs=8",), (("VLLM_SERVER_DEV_MODE", "1"),)))
    of.advance(START_S + 120)
    assert told_by(of).settings[Knob.MAX_NUM_SEQS].source is Source.READ_BACK


def told_by(of: Fleet) -> EffectiveConfig:
    answers = of.machine.habits.answers(process(of).facts())
    return engines.effective(of.machine.engine, of.replicas[0].launch, snapshot(of).info, answers)


def test_capacity_on_the_page_is_what_the_configuration_leaves() -> None:
    for engine, release in RELEASES[:3]:
        of = fleet(of=machine(engine, release))
        facts = process(of).facts()
        assert scalar(snapshot(of), Metric.KV_CAPACITY) == facts.kv_tokens


def test_a_server_that_had_no_request_shows_zeros_or_nothing_as_its_engine_does() -> None:
    vllm = snapshot(fleet())
    assert scalar(vllm, Metric.GENERATION_TOKENS) == 0
    assert histogram(vllm, Metric.TTFT).count == 0
    sglang = snapshot(fleet(of=machine("sglang", "0.5.23")))
    assert list(sglang.scalars) == [Metric.KV_CAPACITY]
    tgi = page(fleet(of=machine("tgi", "3.3.7")))
    assert all(line.startswith("#") for line in tgi.splitlines())


@pytest.mark.parametrize(("engine", "release"), RELEASES)
def test_the_same_seed_gives_the_same_bytes_however_time_is_cut(engine: str, release: str) -> None:
    pages = []
    for pieces in (1, 17):
        of = fleet(of=machine(engine, release), replicas=2, workload=burst(8.0, until_s=20.0), patience_s=5.0)
        for piece in range(1, pieces + 1):
            of.advance(START_S + 15 * piece / pieces)
        pages.append((page(of, 0), page(of, 1)))
    assert pages[0] == pages[1]


def test_another_seed_gives_another_page() -> None:
    first, second = (fleet(workload=burst(8.0, until_s=20.0, seed=seed)) for seed in (1, 2))
    for of in (first, second):
        of.advance(START_S + 15)
    assert page(first) != page(second)
