"""Options of the commands that look at servers: which engine they run, and how they were started."""

import shlex
from typing import Annotated

import typer

from perfagent import engines
from perfagent.collectors.machine import gpu_named, shape_told
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.machine import Machine

EngineOption = Annotated[str, typer.Option(help="Engine name, or auto to recognise it by its page.")]
FlagsOption = Annotated[str, typer.Option(help="The flags the servers were started with, as on the command line.")]
ReleaseOption = Annotated[str | None, typer.Option(help="The engine's release, where it cannot be read.")]

GpuOption = Annotated[str | None, typer.Option(help="What a server runs on, such as h100, or cpu.")]
GpusOption = Annotated[int | None, typer.Option(min=1, max=1024, help="How many GPUs share one server's work.")]
ModelOption = Annotated[
    str | None, typer.Option(help="The model's shape: params=8e9,layers=32,kv_heads=8,head_dim=128.")
]
IntervalOption = Annotated[
    str | None, typer.Option(help="How far apart the pages of a recording are that does not tell, such as 15s.")
]


def machine_told(of: Machine, gpu: str | None, gpus: int | None, model: str | None) -> Machine:
    """What the options say stands above what is known. Raises `InvalidInput` for a GPU or a model that is none."""
    name = of.gpu if gpu is None else gpu_named(gpu)
    if gpu is not None and name is None:
        raise InvalidInput(f"there is no data sheet of {gpu!r}")
    return Machine(name, gpus or of.gpus, of.shape if model is None else shape_told(model))


def engine_named(name: str) -> str | None:
    """The engine, or None for `auto`. Raises `InvalidInput` for one that we do not know."""
    return None if name == "auto" else engines.spec(name).name


def launched_with(flags: str) -> LaunchConfig:
    """The flags of a command line. Raises `InvalidInput` where quotes do not match."""
    try:
        return LaunchConfig(tuple(shlex.split(flags)))
    except ValueError as error:
        raise InvalidInput(f"--flags is no command line: {error}") from error
