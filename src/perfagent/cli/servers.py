"""Options of the commands that look at servers: which engine they run, and how they were started."""

import shlex
from typing import Annotated

import typer

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig

EngineOption = Annotated[str, typer.Option(help="Engine name, or auto to recognise it by its page.")]
FlagsOption = Annotated[str, typer.Option(help="The flags the servers were started with, as on the command line.")]
ReleaseOption = Annotated[str | None, typer.Option(help="The engine's release, where it cannot be read.")]


def engine_named(name: str) -> str | None:
    """The engine, or None for `auto`. Raises `InvalidInput` for one that we do not know."""
    return None if name == "auto" else engines.spec(name).name


def launched_with(flags: str) -> LaunchConfig:
    """The flags of a command line. Raises `InvalidInput` where quotes do not match."""
    try:
        return LaunchConfig(tuple(shlex.split(flags)))
    except ValueError as error:
        raise InvalidInput(f"--flags is no command line: {error}") from error
