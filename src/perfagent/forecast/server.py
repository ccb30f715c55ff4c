"""How a replica is set, as its scheduler sees it: from what is told, read back and known of the release's defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Change, EffectiveConfig, Knob, KnobValue, LaunchConfig, Setting, Source
from perfagent.domain.machine import CPU, Machine
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, levels
from perfagent.engines import check, supports
from perfagent.engines.habits import Habits, Host, whole
from perfagent.engines.servers import habits as habits_of
from perfagent.forecast.memory import tokens_after
from perfagent.twin import SchedulerRules
from perfagent.twin.data_types import DataTypes, bytes_per_number
from perfagent.twin.gpus import gpu

SMALLEST_BYTES = 16 * 2.0**30
"""Memory of a GPU that nobody named, as far as an engine's defaults go by it: the smallest that they tell apart."""
SOME_MODEL_LEN = 32_768
PLAYED = frozenset(
    {
        Knob.MAX_NUM_SEQS,
        Knob.MAX_ACTIVE_SEQS,
        Knob.MAX_NUM_BATCHED_TOKENS,
        Knob.GPU_MEMORY_UTILIZATION,
        Knob.KV_CACHE_DTYPE,
        Knob.KV_CACHE_TOKENS,
        Knob.KV_CACHE_MEMORY_BYTES,
        Knob.QUANTIZATION,
        Knob.ENABLE_PREFIX_CACHING,
        Knob.CHUNKED_PREFILL,
        Knob.MAX_MODEL_LEN,
        Knob.BLOCK_SIZE,
        Knob.MIXED_CHUNK,
        Knob.SCHEDULE_CONSERVATIVENESS,
    }
)
"""Settings that the scheduler's rules, the step time or the capacity follow from."""
UNTOLD = frozenset({(Knob.ENABLE_PREFIX_CACHING, True)})
"""While a prefix cache is off, nothing tells what it would find."""


@dataclass(frozen=True, slots=True)
class Server:
    """One replica's settings, defaults resolved."""

    engine: str
    release: str | None
    machine: Machine
    launch: LaunchConfig
    given: Mapping[Knob, KnobValue]
    """Settings that were told, read back or assumed: what follows from none of the others."""
    values: Mapping[Knob, KnobValue]
    """All settings, those at a default included; some defaults hang on what is given."""
    types: DataTypes
    kv_tokens: float
    """Tokens whose attention state fits, as the server says it."""
    notes: tuple[str, ...]
    """What had to be assumed, for people."""

    @property
    def habits(self) -> Habits:
        """How servers of this engine behave."""
        return habits_of(self.engine)

    @property
    def rules(self) -> SchedulerRules:
        """What its scheduler goes by."""
        values, habits = self.values, self.habits
        size = whole(values, Knob.BLOCK_SIZE) or habits.block_size
        longest = whole(values, Knob.MAX_MODEL_LEN) or SOME_MODEL_LEN
        return SchedulerRules(
            max_num_seqs=habits.seats(values, int(self.kv_tokens), longest),
            max_num_batched_tokens=whole(values, Knob.MAX_NUM_BATCHED_TOKENS) or longest,
            kv_blocks=max(1, int(self.kv_tokens // size) - habits.spare_blocks),
            block_size=size,
            prefix_caching=values.get(Knob.ENABLE_PREFIX_CACHING) is not False,
            chunked_prefill=values.get(Knob.CHUNKED_PREFILL) is not False,
            async_scheduling=habits.async_scheduling(_host(self.machine, values), self.launch),
            mixed=habits.mixed(values),
            reserve_output_ratio=habits.reserve_output_ratio(values),
        )


def known(window: Window, config: EffectiveConfig, launch: LaunchConfig, machine: Machine) -> Server:
    """The replica as it is set now; of the machine, what nobody told is what the server tells itself.

    Raises `InvalidInput` where its KV capacity is in no metric and no setting.
    """
    machine = machine.completed(config.machine)
    notes = [source for source in (machine.gpu_from, machine.shape_from) if source]
    given = {knob: setting.value for knob, setting in config.settings.items()}
    values = resolved(window.engine, machine, given)
    if machine.gpu is None:
        notes.append("the GPU is not known: settings left at a default that depends on it are taken at their smallest")
    ran = max((n for _, n in levels(window, Metric.RUNNING)), default=0.0)
    seats = whole(values, Knob.MAX_NUM_SEQS)
    if Knob.MAX_NUM_SEQS not in given and seats is not None and ran > seats:
        given[Knob.MAX_NUM_SEQS] = int(ran)
        values = resolved(window.engine, machine, given)
        notes.append(f"{ran:.0f} requests ran at once, so as many seats are assumed")
    types = data_types(values)
    if types is None:
        raise InvalidInput("the data types that this server uses are not known to the twin")
    tokens = next((n for _, n in reversed(levels(window, Metric.KV_CAPACITY))), None)
    if tokens is None:
        tokens = _capped(values, window.engine)
        if not supports(window.engine, Knob.KV_CACHE_TOKENS, config.release):  # it was read somewhere, and caps nothing
            given.pop(Knob.KV_CACHE_TOKENS, None)
            values = resolved(window.engine, machine, given)
    if tokens is None:
        raise InvalidInput("nothing tells how many tokens the KV cache holds: name it as kv_cache_tokens")
    return Server(window.engine, config.release, machine, launch, given, values, types, tokens, tuple(notes))


def changed(server: Server, change: Change) -> Server:
    """The replica after the change. Raises `InvalidInput` where it would not start, or where nobody can tell."""
    for knob, value in change:
        if (knob not in PLAYED or (knob, value) in UNTOLD) and server.values.get(knob) != value:
            raise InvalidInput(f"{knob}={value}: the twin does not play that, so nobody can tell what it would do")
    given = {**server.given, **dict(change)}
    values = resolved(server.engine, server.machine, given)
    if change:
        in_force = {knob: Setting(value, Source.DEFAULT) for knob, value in values.items()}
        check(server.engine, change, EffectiveConfig(in_force, server.release))
    types = data_types(values)
    if types is None:
        raise InvalidInput("that data type needs a checkpoint of its own: nothing is known of its speed")
    if server.machine.gpu == CPU and types.weight_bytes != server.types.weight_bytes:
        raise InvalidInput(
            "nothing is known of the speed of 8-bit weights on processors, and vLLM does not take them there"
        )
    tokens = tokens_after(
        server.kv_tokens, server.machine, server.habits, (server.values, server.types), (values, types)
    )
    longest, longest_now = (whole(of, Knob.MAX_MODEL_LEN) for of in (values, server.values))
    runs_with_less = longest_now is not None and server.kv_tokens < longest_now
    if longest is not None and tokens < longest and not runs_with_less:
        raise InvalidInput(
            f"the server would not start: the KV cache would hold {tokens:.0f} tokens, one request may have {longest}"
        )
    return replace(server, given=given, values=values, types=types, kv_tokens=tokens)


def resolved(engine: str, machine: Machine, given: Mapping[Knob, KnobValue]) -> dict[Knob, KnobValue]:
    """All settings in force with these given."""
    return {**habits_of(engine).defaults(_host(machine, given), given), **given}


def data_types(values: Mapping[Knob, KnobValue]) -> DataTypes | None:
    """Bytes per weight and per cached number; None for a type that we cannot size."""
    weight, kv = (
        bytes_per_number(None if (kind := values.get(knob)) is None else str(kind))
        for knob in (Knob.QUANTIZATION, Knob.KV_CACHE_DTYPE)
    )
    return None if weight is None or kv is None else DataTypes(weight, kv)


def _host(machine: Machine, values: Mapping[Knob, KnobValue]) -> Host:
    longest = whole(values, Knob.MAX_MODEL_LEN) or SOME_MODEL_LEN
    if machine.gpu is None or machine.gpu == CPU:
        return Host(machine.gpu or "unknown", SMALLEST_BYTES, longest)
    return Host(machine.gpu, gpu(machine.gpu).memory_bytes, longest)


def _capped(values: Mapping[Knob, KnobValue], engine: str) -> float | None:
    """The KV cache as a setting fixes it."""
    cap, habits = whole(values, Knob.KV_CACHE_TOKENS), habits_of(engine)
    if cap is None:
        return None
    return float(cap * (whole(values, Knob.BLOCK_SIZE) or habits.block_size) if habits.cap_counts_blocks else cap)
