"""`perfagent stop`: the end of the engines that an agent left running."""

import asyncio
from pathlib import Path
from typing import Annotated

import httpx
import typer

from perfagent.actuators.process import Engine, Records, Supervisor
from perfagent.app import PROCESSES
from perfagent.cli.output import Exit, err, fail
from perfagent.clock import SystemClock
from perfagent.collectors.http import HttpScraper
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.services_file import read_services
from perfagent.settings import Settings


def stop(
    services: Annotated[Path | None, typer.Option(help="Services file; by default PERFAGENT_SERVICES.")] = None,
    data: Annotated[Path | None, typer.Option(help="The agent's data folder.")] = None,
) -> None:
    """Drain and end the engines of a services file. End the agent first: it would start them again."""
    settings = Settings()
    path, folder = services or settings.services, data or settings.data
    if path is None:
        raise fail("say --services, or set PERFAGENT_SERVICES", Exit.WRONG_USE)
    try:
        engines = read_services(path).engines
        asyncio.run(end(engines, Records(folder / PROCESSES)))
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    except AgentError as broken:
        raise fail(str(broken), Exit.UNREACHABLE) from broken
    err.print(f"none of {len(engines)} engines runs any more")


async def end(engines: tuple[Engine, ...], records: Records) -> None:
    """Drain and end all of them. Raises `ActuatorFailed`."""
    clock = SystemClock()
    async with httpx.AsyncClient(trust_env=False) as client, HttpScraper(clock) as scraper:
        await Supervisor(engines, records, client, scraper, clock).end()
