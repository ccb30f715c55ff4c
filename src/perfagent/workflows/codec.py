"""Events as the journal keeps them: a kind and a JSON body.

JSON here is Python's: it writes infinities, which a sum of figures from a page may be, so that what was written is
always read.
"""

import json
import re
from typing import get_args

from pydantic import TypeAdapter, ValidationError

from perfagent.domain.errors import BadAnswer, InvalidInput
from perfagent.workflows import events
from perfagent.workflows.events import Event


def _kind(event_class: type) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", event_class.__name__).lower()


_ADAPTERS: dict[str, TypeAdapter[Event]] = {_kind(each): TypeAdapter(each) for each in get_args(events.Event)}


def encode(event: Event) -> tuple[str, str]:
    """The event as (kind, JSON body)."""
    kind = _kind(type(event))
    body = _ADAPTERS[kind].dump_python(event, mode="json")
    return kind, json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def decode(kind: str, body: str) -> Event:
    """The event that `encode` was given. Raises `BadAnswer` for an unknown kind or a body that is not one."""
    adapter = _ADAPTERS.get(kind)
    if adapter is None:
        raise BadAnswer(f"the journal has an event of a kind that this release does not know: {kind!r}")
    try:
        return adapter.validate_json(body)
    except (ValidationError, InvalidInput) as error:
        raise BadAnswer(f"the journal has a {kind} event that cannot be read: {error}") from error
