"""From a launch configuration to a running engine's rules, or to the reason why it does not start.

Flags have consequences here: memory goes to weights, then to activations and overhead, then to the KV cache; data types
change sizes and speeds; and what a real server refuses at start is refused with that engine's kind of message.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import EffectiveConfig, Knob, KnobValue, LaunchConfig, Setting, Source
from perfagent.emulator.model import Model, step_time
from perfagent.engines import spec as spec_of
from perfagent.engines.commandline import Occurrence, occurrences
from perfagent.engines.habits import Habits, Host, MemoryShare, Trouble, whole
from perfagent.engines.release import within
from perfagent.engines.servers import habits as habits_of
from perfagent.engines.settings import effective
from perfagent.engines.spec import EngineSpec
from perfagent.twin import SchedulerRules, StepTime
from perfagent.twin.data_types import DataTypes, bytes_per_number
from perfagent.twin.gpus import ACTIVATION_NUMBERS, GIB, OVERHEAD_BYTES, USABLE, Gpu

_LEAST = {
    Knob.MAX_NUM_SEQS: 1,
    Knob.MAX_NUM_BATCHED_TOKENS: 1,
    Knob.MAX_MODEL_LEN: 1,
    Knob.BLOCK_SIZE: 1,
    Knob.SCHEDULE_CONSERVATIVENESS: 0,
}


class StartFailed(InvalidInput):
    """The server would exit instead of serving; the text is what its log ends with."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is emulated: an engine's release serving a model on `gpus` GPUs."""

    engine: str
    release: str
    gpu: Gpu
    model: Model
    gpus: int = 1

    @property
    def spec(self) -> EngineSpec:
        """The engine's table."""
        return spec_of(self.engine)

    @property
    def habits(self) -> Habits:
        """How the engine's server behaves."""
        return habits_of(self.engine)

    @property
    def host(self) -> Host:
        """What the engine's defaults look at."""
        return Host(self.gpu.name, self.gpu.memory_bytes, self.model.max_len)


@dataclass(frozen=True, slots=True)
class Setup:
    """A configuration that starts."""

    rules: SchedulerRules
    step_time: StepTime
    values: Mapping[Knob, KnobValue]
    """Every setting in force, defaults resolved."""
    max_len: int
    request_limit: int | None
    """Requests, running and waiting, beyond which further ones are refused."""
    types: DataTypes


def prepare(machine: Machine, launch: LaunchConfig) -> Setup:
    """What this launch configuration makes of the machine; raises `StartFailed` with the engine's last words."""
    fail = _Failure(machine)
    _check_flags(machine, launch, fail)
    config = effective(machine.spec, launch, {}, {}, machine.release)
    given = {knob: setting.value for knob, setting in config.settings.items()}
    values = {**machine.habits.defaults(machine.host, given), Knob.TENSOR_PARALLEL_SIZE: 1, **given}
    values = _without_chunks(values, machine)
    _check_values(machine, values, fail)
    gpus = whole(values, Knob.TENSOR_PARALLEL_SIZE) or 1
    if gpus > machine.gpus:
        raise fail(Trouble.DEVICES, asked=gpus, there=machine.gpus)
    weight_number = bytes_per_number(_text(values, Knob.QUANTIZATION))
    kv_number = bytes_per_number(_text(values, Knob.KV_CACHE_DTYPE))
    if weight_number is None:
        raise fail(Trouble.CHECKPOINT, method=values[Knob.QUANTIZATION])
    if kv_number is None:
        raise fail(Trouble.BAD_VALUE, reason=f"invalid KV cache type: {values[Knob.KV_CACHE_DTYPE]!r}")
    max_len = whole(values, Knob.MAX_MODEL_LEN) or machine.model.max_len
    block_size = whole(values, Knob.BLOCK_SIZE) or machine.habits.block_size
    per_token = replace(machine.model.shape, kv_bytes=kv_number).kv_token_bytes
    blocks = _kv_blocks(machine, values, gpus, weight_number, per_token * block_size, fail)
    cap = whole(values, Knob.KV_CACHE_TOKENS)
    if cap is not None:
        blocks = min(blocks, cap if machine.habits.cap_counts_blocks else cap // block_size)
    blocks -= machine.habits.spare_blocks
    if blocks * block_size < max_len:
        there, needed = blocks * block_size * per_token / GIB, max_len * per_token / GIB
        raise fail(Trouble.KV_TOO_SMALL, longest=max_len, needed=needed, there=there, fits=blocks * block_size)
    seats = machine.habits.seats(values, blocks * block_size, max_len)
    values = {**values, Knob.MAX_NUM_SEQS: seats, Knob.BLOCK_SIZE: block_size, Knob.MAX_MODEL_LEN: max_len}
    rules = SchedulerRules(
        max_num_seqs=seats,
        max_num_batched_tokens=whole(values, Knob.MAX_NUM_BATCHED_TOKENS) or max_len,
        kv_blocks=blocks,
        block_size=block_size,
        prefix_caching=values.get(Knob.ENABLE_PREFIX_CACHING) is not False,
        chunked_prefill=values.get(Knob.CHUNKED_PREFILL) is not False,
        async_scheduling=machine.habits.async_scheduling(machine.host, launch),
        mixed=machine.habits.mixed(values),
        reserve_output_ratio=machine.habits.reserve_output_ratio(values),
    )
    types = DataTypes(weight_number, kv_number)
    speed = step_time(machine.model.shape, machine.gpu, gpus, types)
    return Setup(rules, speed, values, max_len, machine.habits.request_limit(values), types)


class _Failure:
    """Builds the exception with the engine's own words."""

    def __init__(self, machine: Machine) -> None:
        self._words = machine.habits.last_words

    def __call__(self, trouble: Trouble, **details: object) -> StartFailed:
        return StartFailed(self._words[trouble].format(**details))


def _check_flags(machine: Machine, launch: LaunchConfig, fail: _Failure) -> None:
    """As the engine's parser: unknown flags and values of the wrong type end it."""
    spec, places = machine.spec, occurrences(machine.spec, launch.flags)
    for place in places:
        if not within(machine.release, place.option.since, place.option.until):
            raise fail(Trouble.UNKNOWN_FLAG, flag=place.name)
        if place.value is None:
            raise fail(Trouble.BAD_VALUE, reason=f"argument {place.name}: invalid value: {place.text!r}")
    known = machine.habits.other_flags | spec.command_line.others
    for token in _unclaimed(launch.flags, places):
        name = token.partition("=")[0]
        if (name.replace("_", "-") if spec.command_line.underscores else name) not in known:
            raise fail(Trouble.UNKNOWN_FLAG, flag=name)


def _unclaimed(flags: tuple[str, ...], places: tuple[Occurrence, ...]) -> list[str]:
    """Tokens that say no knob; one after a flag without `=` is taken to be that flag's value."""
    claimed = {at for place in places for at in range(place.at, place.at + place.width)}
    left, takes_value = [], False
    for at, token in enumerate(flags):
        if at in claimed or (takes_value and not token.startswith("-")):
            takes_value = False
        else:
            left.append(token)
            takes_value = token.startswith("-") and "=" not in token
    return left


def _without_chunks(values: Mapping[Knob, KnobValue], machine: Machine) -> dict[Knob, KnobValue]:
    """Where it is the chunk size that turns chunking off, a step holds the longest prompt."""
    if Knob.CHUNKED_PREFILL in machine.spec.knobs or values.get(Knob.CHUNKED_PREFILL) is not False:
        return dict(values)
    return {**values, Knob.MAX_NUM_BATCHED_TOKENS: whole(values, Knob.MAX_MODEL_LEN) or machine.model.max_len}


def _check_values(machine: Machine, values: Mapping[Knob, KnobValue], fail: _Failure) -> None:
    for knob, least in _LEAST.items():
        value = values.get(knob)
        if isinstance(value, int | float) and value < least:
            raise fail(Trouble.BAD_VALUE, reason=f"{knob} must be at least {least}, not {value}")
    longest = whole(values, Knob.MAX_MODEL_LEN)
    if longest is not None and longest > machine.model.max_len:
        reason = f"max_model_len ({longest}) is greater than the model's {machine.model.max_len}"
        raise fail(Trouble.CONTRADICTION, reason=reason)
    config = EffectiveConfig({knob: Setting(value, Source.FLAG) for knob, value in values.items()}, machine.release)
    for rule in machine.spec.rules:
        contradiction = rule.broken(config, frozenset())
        if contradiction is not None:
            raise fail(Trouble.CONTRADICTION, reason=contradiction)


def _kv_blocks(
    machine: Machine,
    values: Mapping[Knob, KnobValue],
    gpus: int,
    weight_number: float,
    block_bytes: float,
    fail: _Failure,
) -> int:
    """KV blocks that fit in memory, over all GPUs together."""
    total = machine.gpu.memory_bytes * gpus
    free = total * USABLE
    share = _share(values, fail)
    wanted = total * share
    if machine.habits.memory_share is MemoryShare.LIMIT:
        wanted = min(wanted, free)
    if wanted > free or not 0 < share <= 1:
        raise fail(Trouble.MEMORY_SHARE, free=free / GIB, total=total / GIB, share=share, wanted=wanted / GIB)
    weights = machine.model.shape.params * weight_number
    tokens = whole(values, Knob.MAX_NUM_BATCHED_TOKENS) or 1
    activations = 2 * ACTIVATION_NUMBERS * machine.model.shape.heads_width * tokens + OVERHEAD_BYTES * gpus
    static = machine.habits.memory_share is MemoryShare.STATIC
    room = wanted - weights - (0 if static else activations)
    fixed = whole(values, Knob.KV_CACHE_MEMORY_BYTES)
    if room <= 0 and fixed is None:
        raise fail(Trouble.NO_KV, share=share, tokens=tokens)
    kv_bytes = room * machine.habits.kv_share if fixed is None else float(fixed)
    if weights + kv_bytes + activations > free:
        left = (free - weights - kv_bytes) / GIB
        raise fail(
            Trouble.OUT_OF_MEMORY, wanted=activations / GIB, total=total / GIB, free=max(0.0, left), tokens=tokens
        )
    return int(kv_bytes // block_bytes)


def _share(values: Mapping[Knob, KnobValue], fail: _Failure) -> float:
    share = values.get(Knob.GPU_MEMORY_UTILIZATION)
    if isinstance(share, (bool, str)) or share is None:
        raise fail(Trouble.BAD_VALUE, reason=f"the share of GPU memory is a number, not {share!r}")
    return float(share)


def _text(values: Mapping[Knob, KnobValue], knob: Knob) -> str | None:
    value = values.get(knob)
    return None if value is None else str(value)
