"""How an engine's server behaves beside its metrics: what it takes to emulate one that clients and operators know.

Plain data and pure functions, one `Habits` per engine in its folder; the emulator reads them and knows no engine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Knob, KnobValue, LaunchConfig
from perfagent.domain.metric import Metric

Values = Mapping[Knob, KnobValue]


class Moment(Enum):
    """When a figure of a request is put into its metric."""

    ARRIVAL = "when the request is accepted"
    FIRST_TOKEN = "when its first token comes out"
    FINISH = "when its last token comes out"
    STEP = "not per request but once per engine step"


class MemoryShare(Enum):
    """What the share of GPU memory that a server is given is for."""

    ALL = "everything of this server; so much must be free at start"
    STATIC = "weights and KV cache alone; so much must be free at start, activations and graphs come on top"
    LIMIT = "everything of this server, as far as it is free"


class Trouble(Enum):
    """Why a server does not start."""

    UNKNOWN_FLAG = "a flag that the release does not have"
    BAD_VALUE = "a value that the flag does not take"
    CONTRADICTION = "settings that exclude one another"
    CHECKPOINT = "a quantization that needs another checkpoint"
    DEVICES = "more GPUs asked for than there are"
    MEMORY_SHARE = "more memory asked for than is free"
    NO_KV = "nothing left for the KV cache beside the weights"
    KV_TOO_SMALL = "not one request of the longest length fits in the KV cache"
    OUT_OF_MEMORY = "memory runs out beside weights and KV cache"


CUDA_OUT_OF_MEMORY = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {wanted:.2f} GiB. GPU 0 has a total capacity of "
    "{total:.2f} GiB of which {free:.2f} GiB is free."
)
"""PyTorch's words, whoever runs it."""


@dataclass(frozen=True, slots=True)
class Host:
    """What a server runs on, as far as its defaults depend on it."""

    gpu: str
    memory_bytes: float
    model_len: int
    """The longest request that the model allows."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A server as its configuration endpoints tell of it."""

    release: str
    model: str
    host: Host
    values: Values
    """All settings in force, defaults resolved."""
    kv_blocks: int
    kv_tokens: int
    launch: LaunchConfig
    running: int
    waiting: int
    kv_usage: float


@dataclass(frozen=True, slots=True)
class Habits:
    """How a server of one engine behaves."""

    mixed: Callable[[Values], bool]
    """Whether prompts share a step with decoding requests; otherwise they go first and alone."""
    async_scheduling: Callable[[Host, LaunchConfig], bool]
    """Whether a step is planned while its predecessor runs."""
    reserve_output_ratio: Callable[[Values], float]
    """Share of the output still to come that must fit in the KV cache when a request enters."""
    block_size: int
    """Tokens per KV block where no flag says otherwise."""
    spare_blocks: int
    """KV blocks that the engine keeps for itself."""
    cap_counts_blocks: bool
    """`Knob.KV_CACHE_TOKENS` is in blocks; otherwise in tokens."""
    memory_share: MemoryShare
    kv_share: float
    """How much of the memory that is left the KV cache takes."""
    defaults: Callable[[Host, Values], Values]
    """Defaults that depend on the hardware, for the settings not given."""
    seats: Callable[[Values, int, int], int]
    """The batch limit in force, from the settings, the KV capacity in tokens and the longest request."""
    request_limit: Callable[[Values], int | None]
    """Requests, running and waiting, beyond which further ones are refused; None for no limit."""
    refusal_status: int
    """HTTP status beyond the limit."""
    invalid_status: int
    """HTTP status for a request that is too long."""
    moments: Mapping[Metric, Moment]
    """When histograms observe; what is not named here does at `Moment.FINISH`."""
    tpot_s: Callable[[float, float, int], float | None]
    """The time per output token of a request, from prefill seconds, decode seconds and output tokens."""
    aborted: frozenset[Metric]
    """Counters that move when a client goes away."""
    recompiles: frozenset[Knob]
    """A start with values of these that were not compiled for before takes longer."""
    metrics_flag: str | None
    """The flag without which there is no metrics page."""
    other_flags: frozenset[str]
    """Flags that an emulated server takes and that change nothing about it."""
    last_words: Mapping[Trouble, str]
    """What the server prints before it exits; `{…}` are filled by the emulator."""
    info: Callable[[Facts], Mapping[str, str]]
    """Configuration labels on the page, as far as they are known."""
    answers: Callable[[Facts], Mapping[str, object]]
    """Configuration endpoints: path → JSON."""


def whole(values: Values, knob: Knob) -> int | None:
    """A setting as a whole number; None where it is not set. Raises `InvalidInput` for one that is no number."""
    value = values.get(knob)
    if value is None:
        return None
    if isinstance(value, (bool, str)):
        raise InvalidInput(f"{knob} is a number, not {value!r}")
    return int(value)
