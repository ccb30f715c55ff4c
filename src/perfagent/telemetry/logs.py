"""One stream of log lines, ours and the libraries', for people or for machines.

The core logs through the standard library, so nothing there knows of this module. Secrets are masked by the name of
their field, and credentials inside an address by their form, also where a library wrote them.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

MASK = "***"
_SECRET_FIELD = re.compile(r"(?i)(password|passwd|secret|token|api_?key|authorization|cookie)$")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_BEARER = re.compile(r"(?i)(?<=bearer )[\w.~+/=-]+")


def set_up_logs(*, json: bool, level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log line of the process to `stream` (standard error by default), one per line."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        masked,
    ]
    render: Processor = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _without_colours, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "alembic"):  # a line per scrape, and lines about a database that needs no change
        logging.getLogger(chatty).setLevel(logging.WARNING)


def masked(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The fields without secrets."""
    return {
        name: MASK if _SECRET_FIELD.search(name) else _clean(value) if isinstance(value, str) else value
        for name, value in fields.items()
    }


def _without_colours(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """uvicorn repeats each message with colour codes in a field of its own."""
    fields.pop("color_message", None)
    return fields


def _clean(text: str) -> str:
    return _BEARER.sub(MASK, _CREDENTIALS.sub(MASK, text))
