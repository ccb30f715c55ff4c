"""What can be turned on an inference server, in one vocabulary for all engines, and how it is set right now."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from perfagent.domain.errors import InvalidInput
from perfagent.domain.machine import Machine


class Knob(StrEnum):
    """One setting, named as callers name it. Each engine's table spells it as a flag or an environment variable."""

    MAX_NUM_SEQS = "max_num_seqs"
    MAX_ACTIVE_SEQS = "max_num_active_seqs"
    """Tighter limit on what runs at once, within what `max_num_seqs` sizes buffers and graphs for."""
    MAX_NUM_BATCHED_TOKENS = "max_num_batched_tokens"
    GPU_MEMORY_UTILIZATION = "gpu_memory_utilization"
    KV_CACHE_DTYPE = "kv_cache_dtype"
    KV_CACHE_TOKENS = "kv_cache_tokens"
    """Hard cap on the KV cache, in tokens or blocks as the engine counts it; a debugging aid on every engine."""
    KV_CACHE_MEMORY_BYTES = "kv_cache_memory_bytes"
    """Exact size of the KV cache; where it is set, the share of GPU memory has no effect."""
    KV_OFFLOADING_GIB = "kv_offloading_gib"
    QUANTIZATION = "quantization"
    ENABLE_PREFIX_CACHING = "enable_prefix_caching"
    CHUNKED_PREFILL = "chunked_prefill"
    MAX_MODEL_LEN = "max_model_len"
    BLOCK_SIZE = "block_size"
    LONG_PREFILL_TOKEN_THRESHOLD = "long_prefill_token_threshold"
    MIXED_CHUNK = "mixed_chunk"
    SCHEDULE_CONSERVATIVENESS = "schedule_conservativeness"
    MAX_QUEUED_REQUESTS = "max_queued_requests"
    MAX_CONCURRENT_REQUESTS = "max_concurrent_requests"
    TENSOR_PARALLEL_SIZE = "tensor_parallel_size"


KnobValue = bool | int | float | str
MOST = 2**63 - 1
"""The largest number that a setting can be: servers count in 64 bits."""
Change = tuple[tuple[Knob, KnobValue], ...]
"""Knobs with their new values, in the order of `Knob`."""


def change_of(values: Mapping[str, KnobValue] | Mapping[Knob, KnobValue]) -> Change:
    """A change from a mapping.

    Raises `InvalidInput` for nothing to change, a name that is no knob, or a number that no server can hold.
    """
    if not values:
        raise InvalidInput("a change needs at least one knob")
    unknown = sorted(set(values) - set(Knob))
    if unknown:
        raise InvalidInput(f"unknown knob {unknown[0]!r}; known are {', '.join(Knob)}")
    for name, value in values.items():
        if not isinstance(value, str) and not abs(value) <= MOST:
            raise InvalidInput(f"{name}: no number of 64 bits")
    return tuple((knob, values[knob]) for knob in Knob if knob in values)


class Source(StrEnum):
    """Where a setting was learned, most trustworthy first."""

    READ_BACK = "read back from the server"
    FLAG = "given as a flag"
    DEFAULT = "the release's default"


@dataclass(frozen=True, slots=True)
class Setting:
    """How a knob is set, and how we know."""

    value: KnobValue
    source: Source


@dataclass(frozen=True, slots=True)
class EffectiveConfig:
    """How a server is set as far as can be known. A knob that cannot be known is absent."""

    settings: Mapping[Knob, Setting]
    release: str | None = None
    """The engine's version, such as `0.26.0`."""
    at_least: Mapping[Knob, float] = field(default_factory=dict)
    """Knobs left at a default that depends on the hardware: the smallest value that it has anywhere."""
    machine: Machine = field(default_factory=Machine)
    """What the server runs on and serves, as far as it tells that itself."""

    def value(self, knob: Knob) -> KnobValue | None:
        """The knob's value, or None where it is not known."""
        setting = self.settings.get(knob)
        return None if setting is None else setting.value

    def number(self, knob: Knob) -> float | None:
        """The knob's value as a number, or None where it is not known or no number."""
        value = self.value(knob)
        return None if value is None or isinstance(value, (str, bool)) else float(value)

    def told(self, change: Change) -> "EffectiveConfig":
        """The same with what somebody says about it: that stands above a default, and below what was read or given."""
        said = {
            knob: Setting(value, Source.FLAG)
            for knob, value in change
            if knob not in self.settings or self.settings[knob].source is Source.DEFAULT
        }
        return replace(self, settings={**self.settings, **said})


@dataclass(frozen=True, slots=True)
class LaunchConfig:
    """How a server was started, exactly: what is stored before a change and restored by a rollback."""

    flags: tuple[str, ...] = ()
    """Command-line arguments as given, without the program and the ones that only name host, port and model."""
    env: tuple[tuple[str, str], ...] = ()
    """Environment variables that configure the engine."""
