"""How a TGI server behaves, for emulation.

Sources: `launcher/src/main.rs` (defaults), `router/src/server.rs` (endpoints, statuses, what is observed when),
`backends/v3/src/{backend,block_allocator,queue}.rs` (reservation), `server/text_generation_server/` (messages).
"""

from collections.abc import Mapping

from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric
from perfagent.engines.habits import (
    CUDA_OUT_OF_MEMORY,
    Facts,
    Habits,
    Host,
    MemoryShare,
    Moment,
    Trouble,
    Values,
    whole,
)


def _defaults(host: Host, _: Values) -> Values:
    """The launcher's fallback where it does not know the GPU's arithmetic; what it infers otherwise is larger."""
    return {
        Knob.MAX_NUM_BATCHED_TOKENS: 4096,
        Knob.MAX_MODEL_LEN: host.model_len,
        Knob.ENABLE_PREFIX_CACHING: True,
        Knob.CHUNKED_PREFILL: True,
        Knob.MAX_CONCURRENT_REQUESTS: 128,
        Knob.KV_CACHE_DTYPE: "auto",
    }


def _seats(values: Values, kv_tokens: int, _: int) -> int:
    """Without a limit as many as there are tokens for."""
    return whole(values, Knob.MAX_NUM_SEQS) or kv_tokens


def _answers(facts: Facts) -> Mapping[str, object]:
    values = facts.values
    longest = whole(values, Knob.MAX_MODEL_LEN) or facts.host.model_len
    return {
        "/info": {
            "model_id": facts.model,
            "version": facts.release,
            "max_concurrent_requests": values.get(Knob.MAX_CONCURRENT_REQUESTS),
            "max_total_tokens": longest,
            "max_input_tokens": longest - 1,
            "router": "text-generation-router",
        },
        "/v1/models": {"object": "list", "data": [{"id": facts.model, "object": "model"}]},
    }


def _tpot_s(prefill_s: float, decode_s: float, tokens: int) -> float:
    """Prefill is in it."""
    return (prefill_s + decode_s) / tokens


HABITS = Habits(
    mixed=lambda values: values.get(Knob.CHUNKED_PREFILL) is not False,
    async_scheduling=lambda _, __: False,
    reserve_output_ratio=lambda _: 1.0,
    block_size=1,
    spare_blocks=0,
    cap_counts_blocks=False,
    memory_share=MemoryShare.LIMIT,
    # TGI_WIGGLE_ROOM
    kv_share=0.9,
    defaults=_defaults,
    seats=_seats,
    request_limit=lambda values: whole(values, Knob.MAX_CONCURRENT_REQUESTS),
    refusal_status=429,
    invalid_status=422,
    moments={Metric.PROMPT_LENGTH: Moment.ARRIVAL, Metric.ITL: Moment.STEP, Metric.PREFILL_TIME: Moment.STEP},
    tpot_s=_tpot_s,
    aborted=frozenset({Metric.ABORTED}),
    recompiles=frozenset(),
    metrics_flag=None,
    other_flags=frozenset(
        {
            "--max-input-tokens",
            "--max-batch-total-tokens",
            "--waiting-served-ratio",
            "--max-waiting-tokens",
            "--validation-workers",
            "--max-client-batch-size",
            "--graceful-termination-timeout",
            "--dtype",
            "--cuda-graphs",
            "--trust-remote-code",
            "--json-output",
        }
    ),
    last_words={
        Trouble.UNKNOWN_FLAG: "error: unexpected argument '{flag}' found",
        Trouble.BAD_VALUE: "error: {reason}",
        Trouble.CONTRADICTION: "ArgumentValidation: {reason}",
        Trouble.CHECKPOINT: "ValueError: The model was not quantized with {method}",
        Trouble.DEVICES: "NotEnoughCUDADevices: `sharded` is true but only found {there} CUDA devices, asked {asked}",
        Trouble.MEMORY_SHARE: CUDA_OUT_OF_MEMORY,
        Trouble.NO_KV: "RuntimeError: Not enough memory to handle {tokens} prefill tokens.",
        Trouble.KV_TOO_SMALL: (
            "ArgumentValidation: `max_total_tokens` must be <= `max_batch_total_tokens`. Given: {longest} and {fits}"
        ),
        Trouble.OUT_OF_MEMORY: (
            "RuntimeError: Not enough memory to handle {tokens} prefill tokens. You need to decrease "
            "`--max-batch-prefill-tokens`"
        ),
    },
    info=lambda _: {},
    answers=_answers,
)
