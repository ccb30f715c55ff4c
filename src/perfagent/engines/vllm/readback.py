"""What a running vLLM tells of its configuration.

KV settings stand as labels of Python text on the page, the length limit in `/v1/models`; scheduler settings only in
`/server_info`, which exists with `VLLM_SERVER_DEV_MODE=1` (JSON since 0.11.0), hence hardly ever in production. There
alone stand the GPUs of the whole machine, as `nvidia-smi -L` lists them; what the weights were loaded from stands in
`/v1/models` too. The environment that it tells beside is never looked at: it may hold secrets.
Sources: `vllm/config/cache.py` (`metrics_info`), `vllm/entrypoints/serve/instrumentator/{basic,server_info}.py`,
`vllm/collect_env.py`.
"""

from collections.abc import Mapping
from math import prod

from perfagent.domain.knob import Knob, KnobValue
from perfagent.engines.answers import answer, part, parts, setting, text
from perfagent.engines.spec import Hosted

ENDPOINTS = ("/version", "/v1/models", "/server_info?config_format=json")

_SECTIONS: tuple[tuple[str, str, Knob], ...] = (
    ("scheduler_config", "max_num_seqs", Knob.MAX_NUM_SEQS),
    ("scheduler_config", "max_num_active_seqs", Knob.MAX_ACTIVE_SEQS),
    ("scheduler_config", "max_num_batched_tokens", Knob.MAX_NUM_BATCHED_TOKENS),
    ("scheduler_config", "enable_chunked_prefill", Knob.CHUNKED_PREFILL),
    ("scheduler_config", "long_prefill_token_threshold", Knob.LONG_PREFILL_TOKEN_THRESHOLD),
    ("scheduler_config", "max_num_queued_reqs", Knob.MAX_QUEUED_REQUESTS),
    ("parallel_config", "tensor_parallel_size", Knob.TENSOR_PARALLEL_SIZE),
    ("model_config", "quantization", Knob.QUANTIZATION),
    ("model_config", "max_model_len", Knob.MAX_MODEL_LEN),
)

_LABELS: tuple[tuple[str, Knob], ...] = (
    ("gpu_memory_utilization", Knob.GPU_MEMORY_UTILIZATION),
    ("cache_dtype", Knob.KV_CACHE_DTYPE),
    ("enable_prefix_caching", Knob.ENABLE_PREFIX_CACHING),
    ("block_size", Knob.BLOCK_SIZE),
    ("num_gpu_blocks_override", Knob.KV_CACHE_TOKENS),
    ("kv_cache_memory_bytes", Knob.KV_CACHE_MEMORY_BYTES),
    ("kv_offloading_size", Knob.KV_OFFLOADING_GIB),
)


def read_back(info: Mapping[str, str], answers: Mapping[str, object]) -> Mapping[Knob, KnobValue]:
    """Settings in force, from the labels of `vllm:cache_config_info` and the endpoints that answered."""
    told: dict[Knob, KnobValue] = {}
    for label, knob in _LABELS:
        value = _python(info.get(label, "None"))
        if value is not None:
            told[knob] = value
    for model in parts(answer(answers, "/v1/models"), "data"):
        longest = setting(model, "max_model_len")
        if longest is not None and model.get("parent") is None:
            told[Knob.MAX_MODEL_LEN] = longest
    config = part(answer(answers, "/server_info"), "vllm_config")
    for section, key, knob in _SECTIONS:
        value = setting(part(config, section), key)
        if value is not None:
            told[knob] = value
    return told


def version(answers: Mapping[str, object]) -> str | None:
    """The release by `/version`."""
    return text(answer(answers, "/version"), "version")


def hosted(answers: Mapping[str, object]) -> Hosted:
    """GPU and model; the GPU only where the machine has one kind, as nothing tells which ones the server took."""
    info = answer(answers, "/server_info")
    lines = (text(part(info, "system_env"), "nvidia_gpu_models") or "").splitlines()
    kinds = {line.partition(":")[2].strip() for line in lines}
    parallel = part(part(info, "vllm_config"), "parallel_config")
    sizes = [setting(parallel, f"{kind}_parallel_size") for kind in ("tensor", "pipeline")]
    roots = {text(model, "root") for model in parts(answer(answers, "/v1/models"), "data") if not model.get("parent")}
    return Hosted(
        hardware=kinds.pop() if len(kinds) == 1 else "",
        count=prod(size for size in sizes if isinstance(size, int)),
        model=(roots.pop() if len(roots) == 1 else None) or "",
    )


def _python(label: str) -> KnobValue | None:
    """A label's Python text as a value."""
    if label in ("None", "", "True", "False"):
        return {"True": True, "False": False}.get(label)
    for number in (int, float):
        try:
            return number(label)
        except ValueError:
            continue
    return label
