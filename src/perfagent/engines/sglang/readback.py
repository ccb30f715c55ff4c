"""What a running SGLang tells of its configuration.

`/server_info` has the resolved arguments by name. It also has `api_key` and `admin_api_key` in clear text, so only the
fields named here are ever looked at. `/v1/loads` has the effective batch limit and works without metrics; it also names
the accelerator, and how many stand behind one data-parallel rank.
Sources: `python/sglang/srt/entrypoints/http_server.py`, `entrypoints/v1_loads.py`, `managers/scheduler_components/`.
"""

from collections.abc import Mapping

from perfagent.domain.knob import Knob, KnobValue
from perfagent.engines.answers import answer, parts, setting, text
from perfagent.engines.spec import Hosted

# the second name is the first one's until 0.5.5
ENDPOINTS = ("/server_info", "/get_server_info", "/v1/loads")

_FIELDS: tuple[tuple[str, Knob], ...] = (
    ("max_running_requests", Knob.MAX_NUM_SEQS),
    ("chunked_prefill_size", Knob.MAX_NUM_BATCHED_TOKENS),
    ("mem_fraction_static", Knob.GPU_MEMORY_UTILIZATION),
    ("kv_cache_dtype", Knob.KV_CACHE_DTYPE),
    ("max_total_tokens", Knob.KV_CACHE_TOKENS),
    ("quantization", Knob.QUANTIZATION),
    ("enable_mixed_chunk", Knob.MIXED_CHUNK),
    ("context_length", Knob.MAX_MODEL_LEN),
    ("page_size", Knob.BLOCK_SIZE),
    ("schedule_conservativeness", Knob.SCHEDULE_CONSERVATIVENESS),
    ("max_queued_requests", Knob.MAX_QUEUED_REQUESTS),
    ("tp_size", Knob.TENSOR_PARALLEL_SIZE),
)


def read_back(info: Mapping[str, str], answers: Mapping[str, object]) -> Mapping[Knob, KnobValue]:
    """Settings in force, from the constants on the page and the endpoints that answered."""
    told: dict[Knob, KnobValue] = {}
    for key, knob in (("context_len", Knob.MAX_MODEL_LEN), ("page_size", Knob.BLOCK_SIZE)):
        if info.get(key, "").isdecimal():
            told[knob] = int(info[key])
    server = answer(answers, "/server_info", "/get_server_info")
    for field, knob in _FIELDS:
        value = setting(server, field)
        if value is not None:
            told[knob] = value
    no_cache = setting(server, "disable_radix_cache")
    if isinstance(no_cache, bool):
        told[Knob.ENABLE_PREFIX_CACHING] = not no_cache
    limit = _effective_limit(server, answer(answers, "/v1/loads"))
    if limit is not None:
        told[Knob.MAX_NUM_SEQS] = limit
    chunk = told.get(Knob.MAX_NUM_BATCHED_TOKENS)
    if isinstance(chunk, int):
        told[Knob.CHUNKED_PREFILL] = chunk > 0
    return told


def version(answers: Mapping[str, object]) -> str | None:
    """The release by `/server_info` or `/v1/loads`."""
    return text(answer(answers, "/server_info", "/get_server_info"), "version") or text(
        answer(answers, "/v1/loads"), "version"
    )


def hosted(answers: Mapping[str, object]) -> Hosted:
    """The accelerator by `/v1/loads`, the model by `/server_info`."""
    loads = answer(answers, "/v1/loads")
    count = setting(loads, "num_accelerators")
    return Hosted(
        hardware=text(loads, "accelerator") or "",
        count=count if isinstance(count, int) else 1,
        model=text(answer(answers, "/server_info", "/get_server_info"), "model_path") or "",
    )


def _effective_limit(server: Mapping[str, object], loads: Mapping[str, object]) -> int | None:
    """The batch limit of one data-parallel rank after the server has lowered it to its memory."""
    told = [setting(state, "effective_max_running_requests_per_dp") for state in parts(server, "internal_states")]
    told += [setting(load, "max_running_requests") for load in parts(loads, "loads")]
    limits = [value for value in told if isinstance(value, int) and not isinstance(value, bool)]
    return min(limits, default=None)
