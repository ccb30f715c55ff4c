import re

import pytest

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.metric import Kind, Metric
from support.pages import FIXTURES, by_reference

GENUINE = [
    ("vllm", "0.26.0", "vllm/0.26.0-short-of-seats.prom", 16384),
    ("vllm", "0.10.1", "vllm/0.10.1-derived-preempting.prom", 8192),
    ("vllm", "0.32.0", "vllm/0.32.0-cpu-light.prom", 4096),
    ("sglang", "0.5.23", "sglang/0.5.23-queueing.prom", 8192),
    ("tgi", "3.0.0", "tgi/3.0.0-after-load.prom", 512),
]


@pytest.mark.parametrize(("engine", "release", "page", "longest"), GENUINE, ids=[row[2] for row in GENUINE])
def test_names_labels_and_edges_are_those_on_a_real_page(engine: str, release: str, page: str, longest: int) -> None:
    samples = by_reference((FIXTURES / "engines" / page).read_text())
    names = {sample.name: {label for label, _ in sample.labels} for sample in samples}
    for family in engines.exposition(engine, release, max_model_len=longest).families:
        name = family.name + ("_bucket" if family.type == "histogram" else "")
        if name not in names:
            assert family.metric in engines.spec(engine).sometimes, name
            continue
        ranks = {"dp_rank"} if engine == "sglang" else set()
        # TGI's real server had other limits for the whole request than for its input
        assert {label for label, _ in family.labels} - ranks == names[name] - {"le"}
        if family.type == "histogram" and family.name != "tgi_request_input_length":
            wanted = {label: text for label, text in family.labels if "{" not in text}
            edges = [
                float(dict(sample.labels)["le"])
                for sample in samples
                if sample.name == name and wanted.items() <= dict(sample.labels).items()
            ]
            assert edges[:-1] == pytest.approx(family.edges)


@pytest.mark.parametrize("engine", sorted(engines.ENGINES))
def test_types_are_prometheus_types(engine: str) -> None:
    for family in engines.exposition(engine, None).families:
        assert family.type in ("gauge", "counter", "histogram")
        assert (family.type == "histogram") == (family.metric.kind is Kind.HISTOGRAM) == bool(family.edges)
        assert not re.search(r"[{}]", str(family.series("m", 1)))


def test_deprecated_names_are_written_until_they_are_hidden() -> None:
    def names(release: str) -> set[str]:
        return {family.name for family in engines.exposition("vllm", release).families}

    assert {"vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"} <= names("0.10.1")
    assert "vllm:inter_token_latency_seconds" not in names("0.10.1")
    assert "vllm:gpu_cache_usage_perc" not in names("0.26.0")
    assert "vllm:admission_rejections_total" in names("0.33.0")


def test_labels_are_filled_for_a_model_and_rank() -> None:
    first = engines.exposition("vllm", "0.26.0").families[0]
    assert first.metric is Metric.RUNNING
    assert first.series("llama", 1) == (("engine", "1"), ("model_name", "llama"))


def test_configuration_is_written_as_labels_or_as_gauges() -> None:
    vllm, sglang = engines.exposition("vllm", "0.26.0"), engines.exposition("sglang", None)
    assert vllm.info_name == "vllm:cache_config_info"
    assert "kv_cache_size_tokens" in vllm.info_keys
    assert "kv_cache_size_tokens" not in engines.exposition("vllm", "0.10.1").info_keys
    assert (sglang.info_name, sglang.lazy) == (None, True)
    assert sglang.info_values["sglang:context_len"] == "context_len"


def test_a_release_older_than_the_tables_cannot_be_written() -> None:
    with pytest.raises(InvalidInput, match=r"pages of sglang 0\.4\.0 cannot be written; the oldest is 0\.5\.12"):
        engines.exposition("sglang", "0.4.0")
