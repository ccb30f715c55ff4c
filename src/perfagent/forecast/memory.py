"""How many tokens the KV cache holds after a change: today's, and what the change adds to or takes from its memory.

Anchored at the capacity that the server itself tells, so that what nobody can know (graphs, fragments, other
processes) cancels out.
"""

from collections.abc import Mapping

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Knob, KnobValue
from perfagent.domain.machine import CPU, Machine, ModelShape
from perfagent.engines.habits import Habits, MemoryShare, whole
from perfagent.twin.data_types import FULL_BYTES, QUANTISED_SHARE, DataTypes
from perfagent.twin.gpus import ACTIVATION_NUMBERS, GIB, OVERHEAD_BYTES, USABLE, gpu

BINDS = 0.99
"""Of a cap on tokens that is an upper limit: a cache so large stands at it."""

_Settings = tuple[Mapping[Knob, KnobValue], DataTypes]


def tokens_after(tokens: float, machine: Machine, habits: Habits, before: _Settings, after: _Settings) -> float:
    """KV capacity in tokens after a change. Raises `InvalidInput` where nobody can tell, or nothing fits."""
    (old, _), (new, _) = before, after
    if old != new:
        _check_activations(machine, habits, new)
    cap = whole(new, Knob.KV_CACHE_TOKENS)
    if cap is not None and habits.cap_counts_blocks:
        return float(cap * (whole(new, Knob.BLOCK_SIZE) or habits.block_size))
    if cap is not None:
        binds = tokens >= BINDS * (whole(old, Knob.KV_CACHE_TOKENS) or float("inf"))
        return float(cap) if binds else min(float(cap), _uncapped(tokens, machine, habits, before, after))
    return _uncapped(tokens, machine, habits, before, after)


def _uncapped(tokens: float, machine: Machine, habits: Habits, before: _Settings, after: _Settings) -> float:
    """What the memory holds."""
    (old, old_types), (new, new_types) = before, after
    narrower = old_types.kv_bytes / new_types.kv_bytes
    fixed_now, fixed = (values.get(Knob.KV_CACHE_MEMORY_BYTES) for values in (old, new))
    if fixed is not None and fixed_now:
        return tokens * narrower * float(fixed) / float(fixed_now)
    if fixed is not None:
        return float(fixed) / _token_bytes(_shape(machine, Knob.KV_CACHE_MEMORY_BYTES), new_types.kv_bytes)
    more = _weights_freed(machine, old_types, new_types) + _share_added(machine, habits, old, new)
    more -= _activations_added(machine, habits, old, new)
    if not more:
        return tokens * narrower
    bytes_each = _token_bytes(_shape(machine, Knob.KV_CACHE_TOKENS), old_types.kv_bytes)
    room = tokens * bytes_each + habits.kv_share * more
    if room <= 0:
        raise InvalidInput("the server would not start: nothing would be left for the KV cache beside the weights")
    return room / bytes_each * narrower


def _weights_freed(machine: Machine, old: DataTypes, new: DataTypes) -> float:
    if old.weight_bytes == new.weight_bytes:
        return 0.0
    shape = _shape(machine, Knob.QUANTIZATION)
    return QUANTISED_SHARE * shape.params * shape.weight_bytes * (old.weight_bytes - new.weight_bytes) / FULL_BYTES


def _share_added(
    machine: Machine, habits: Habits, old: Mapping[Knob, KnobValue], new: Mapping[Knob, KnobValue]
) -> float:
    shares = [values.get(Knob.GPU_MEMORY_UTILIZATION) for values in (old, new)]
    if shares[0] == shares[1]:
        return 0.0
    if machine.gpu is None or machine.gpu == CPU or not all(isinstance(share, int | float) for share in shares):
        raise InvalidInput(
            f"{Knob.GPU_MEMORY_UTILIZATION}: what that share is of is not known; name the GPU (one with a data sheet)"
        )
    was, will = (float(share) for share in shares if share is not None)
    if habits.memory_share is MemoryShare.LIMIT:
        was, will = min(was, USABLE), min(will, USABLE)
    if will > USABLE:
        raise InvalidInput(f"the server would not start: {will:.0%} of the GPU's memory is never free")
    return (will - was) * gpu(machine.gpu).memory_bytes * machine.gpus


def _activations_added(
    machine: Machine, habits: Habits, old: Mapping[Knob, KnobValue], new: Mapping[Knob, KnobValue]
) -> float:
    """More tokens in a step need more room, which a static share does not give."""
    was, will = (whole(values, Knob.MAX_NUM_BATCHED_TOKENS) or 0 for values in (old, new))
    if was == will or habits.memory_share is MemoryShare.STATIC or machine.shape is None or machine.gpu == CPU:
        return 0.0
    return FULL_BYTES * ACTIVATION_NUMBERS * machine.shape.heads_width * (will - was)


def _check_activations(machine: Machine, habits: Habits, values: Mapping[Knob, KnobValue]) -> None:
    """Raises `InvalidInput` where a share for weights and cache alone leaves too little for the largest step."""
    share, tokens = values.get(Knob.GPU_MEMORY_UTILIZATION), whole(values, Knob.MAX_NUM_BATCHED_TOKENS)
    told = machine.gpu not in (None, CPU) and machine.shape is not None and isinstance(share, int | float)
    if habits.memory_share is not MemoryShare.STATIC or not told or tokens is None:
        return
    total = gpu(machine.gpu or "").memory_bytes * machine.gpus
    width = _shape(machine, Knob.MAX_NUM_BATCHED_TOKENS).heads_width
    needed = FULL_BYTES * ACTIVATION_NUMBERS * width * tokens + OVERHEAD_BYTES * machine.gpus
    if float(share or 0.0) * total + needed > USABLE * total:
        raise InvalidInput(
            f"the server would run out of memory: steps of {tokens} tokens need {needed / GIB:.1f} GiB beside its share"
        )


def _shape(machine: Machine, knob: Knob) -> ModelShape:
    if machine.shape is None:
        raise InvalidInput(f"{knob}: the model's shape is not known, so nobody can tell how many tokens will fit")
    return machine.shape


def _token_bytes(shape: ModelShape, kv_bytes: float) -> float:
    return shape.kv_token_bytes / shape.kv_bytes * kv_bytes
