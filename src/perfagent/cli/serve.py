"""`perfagent serve`: the service."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from perfagent.app import assembled, running
from perfagent.cli.output import Exit, err, fail
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.settings import Settings
from perfagent.telemetry.logs import set_up_logs


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; by default only this machine reaches it.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the SQLite database, also where PERFAGENT_DATABASE_URL is set.")
    ] = None,
    services: Annotated[
        Path | None, typer.Option(help="Services file: what to look after, and engines to run on this machine.")
    ] = None,
) -> None:
    """Run the agent with its REST API. What is not given here comes from PERFAGENT_… in the environment."""
    given = {"host": host, "port": port, "data": data, "services": services}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    set_up_logs(json=settings.log_format == "json", level=settings.log_level)
    try:
        asyncio.run(_serve(settings, in_folder=data is not None))
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    except AgentError as broken:
        raise fail(str(broken), Exit.UNREACHABLE) from broken


async def _serve(settings: Settings, *, in_folder: bool) -> None:
    url = settings.database_url
    store = settings.data if url is None or in_folder else url.get_secret_value()
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    async with (
        assembled(settings, store=store) as app,
        running(app, settings.host, settings.port) as (address, loop),
    ):
        err.print(f"perfagent listens on {address}; its contract is at {address}/api/v1/docs", soft_wrap=True)
        waiting = asyncio.create_task(asked.wait())
        await asyncio.wait({waiting, loop}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
