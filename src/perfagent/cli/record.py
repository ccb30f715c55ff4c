"""`perfagent record`: keep what a server shows, to diagnose it later or elsewhere."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from perfagent.cli.durations import seconds
from perfagent.cli.output import Exit, err, fail, watching
from perfagent.cli.servers import EngineOption, FlagsOption, ReleaseOption, engine_named, launched_with
from perfagent.clock import SystemClock
from perfagent.collectors.http import HttpScraper
from perfagent.collectors.recorder import Recorder
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.service import replica
from perfagent.domain.snapshot import Target


def record(
    url: Annotated[str, typer.Argument(help="Base address of the server, such as http://host:8000.")],
    out: Annotated[Path, typer.Option("--out", help="A folder of its own for the recording.")],
    look: Annotated[str, typer.Option("--for", help="How long to record, such as 60s or 1h.")] = "60s",
    every: Annotated[str, typer.Option(help="How far apart the pages are.")] = "5s",
    engine: EngineOption = "auto",
    flags: FlagsOption = "",
    release: ReleaseOption = None,
) -> None:
    """Keep a server's metrics pages in a folder, for `perfagent diagnose --replay`. Changes nothing on the server."""
    try:
        name, launch = engine_named(engine), launched_with(flags)
        address = replica("", url).url
        pages = asyncio.run(_record(address, out, seconds(look), seconds(every), name, launch, release))
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    except AgentError as unreachable:
        raise fail(str(unreachable), Exit.UNREACHABLE) from unreachable
    err.print(f"{pages} pages in {out}", soft_wrap=True)


async def _record(
    address: str,
    folder: Path,
    for_s: float,
    every_s: float,
    engine: str | None,
    launch: LaunchConfig,
    release: str | None,
) -> int:
    clock = SystemClock()
    async with HttpScraper(clock) as scraper:
        with watching(for_s, "recording") as seen:
            recorder = Recorder(scraper, clock, folder, launch, release)
            return await recorder.record(
                Target(address, address), engine=engine, for_s=for_s, every_s=every_s, seen=seen
            )
