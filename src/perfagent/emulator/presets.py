"""Named situations for the demo and `perfagent emulate`: a machine, its knobs and a load that belong together.

The model is an 8B decoder with a 16k length limit, as chat services run it, on an A100 with 80 GB. Loads are per
replica. Lengths are round numbers of the order that public chat and retrieval traces show; nothing comes from a
recording. A step of this model on this GPU takes 11 ms (it reads 16 GB at 0.8 of 2 TB/s), which is all one needs to
see why a situation is what its name says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Knob, KnobValue, LaunchConfig, change_of
from perfagent.emulator.faults import Fault
from perfagent.emulator.fleet import Fleet
from perfagent.emulator.model import model
from perfagent.emulator.setup import Machine
from perfagent.engines import ENGINES, render, spec
from perfagent.twin import Lengths, SharedPrefixes, Workload
from perfagent.twin.gpus import gpu

MAX_MODEL_LEN = 16_384
DEFAULT_ENGINE = next(iter(ENGINES))


@dataclass(frozen=True, slots=True)
class Preset:
    """A situation; `knobs` are said on the command line in the engine's spelling."""

    name: str
    description: str
    knobs: Mapping[Knob, KnobValue]
    rate_per_s: float
    """Requests per second and replica."""
    prompt: Lengths
    output: Lengths
    prefixes: SharedPrefixes | None = None
    patience_s: float = 30.0
    """A client goes away when nothing came by then, so an overloaded server's queue stays as it is."""


_CHAT_PROMPT = Lengths(500, 0.6, longest=4000)
_CHAT_OUTPUT = Lengths(200, 0.5, longest=1000)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(
                "healthy",
                "chat at two thirds of what the default settings can serve",
                {},
                rate_per_s=5.0,
                prompt=_CHAT_PROMPT,
                output=_CHAT_OUTPUT,
            ),
            Preset(
                "batch-limit",
                "the same chat, but only 8 requests may run at once: they queue while the KV cache is nearly empty",
                {Knob.MAX_NUM_SEQS: 8},
                rate_per_s=5.0,
                prompt=_CHAT_PROMPT,
                output=_CHAT_OUTPUT,
            ),
            Preset(
                "kv-starved",
                "long conversations on a server whose memory share leaves little KV cache: full cache, preemptions",
                {Knob.GPU_MEMORY_UTILIZATION: 0.27},
                rate_per_s=3.2,
                prompt=Lengths(1500, 0.5, longest=6000),
                output=Lengths(500, 0.5, longest=2000),
            ),
            Preset(
                "prefill-budget",
                "long prompts in steps of 64 tokens, which take as long as steps of twice as many: late first tokens",
                {Knob.MAX_NUM_BATCHED_TOKENS: 64},
                rate_per_s=0.7,
                prompt=Lengths(6000, 0.4, longest=12_000),
                output=Lengths(60, 0.5, longest=300),
                prefixes=SharedPrefixes(pool=20, tokens=512, share=0.5),
            ),
        )
    }
)


def preset(name: str) -> Preset:
    """A preset by name; raises `InvalidInput`."""
    if name not in PRESETS:
        raise InvalidInput(f"unknown preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def machine(engine: str = DEFAULT_ENGINE, release: str | None = None) -> Machine:
    """The presets' machine with this engine; without a release, the newest that we know."""
    return Machine(engine, release or spec(engine).newest, gpu("a100-80"), model("llama-3.1-8b"))


def launch(chosen: Preset, on: Machine) -> LaunchConfig:
    """The preset's command line; raises `InvalidInput` where the engine's release lacks one of its knobs."""
    base = LaunchConfig(flags=() if on.habits.metrics_flag is None else (on.habits.metrics_flag,))
    change = change_of({Knob.MAX_MODEL_LEN: MAX_MODEL_LEN, **chosen.knobs})
    return render(on.engine, base, change, on.release)


def fleet(
    chosen: Preset,
    *,
    engine: str = DEFAULT_ENGINE,
    release: str | None = None,
    replicas: int = 10,
    seed: int = 0,
    faults: Sequence[Fault] = (),
    start_s: float = 0.0,
    started: LaunchConfig | None = None,
) -> Fleet:
    """A fleet in this situation, every replica launched alike: with the preset's knobs, or as somebody says."""
    on = machine(engine, release)
    workload = Workload(
        rate_per_s=((0.0, chosen.rate_per_s * replicas),),
        prompt=chosen.prompt,
        output=chosen.output,
        prefixes=chosen.prefixes,
        seed=seed,
    )
    return Fleet(
        on,
        launch(chosen, on) if started is None else started,
        replicas=replicas,
        workload=workload,
        patience_s=chosen.patience_s,
        faults=faults,
        start_s=start_s,
    )
