"""Endpoints' answers are somebody else's JSON: taken apart here without trusting its shape."""

from collections.abc import Mapping

from perfagent.domain.knob import KnobValue


def answer(answers: Mapping[str, object], *paths: str) -> Mapping[str, object]:
    """The first of these paths (whatever its query) that answered with an object; else an empty one."""
    for path in paths:
        for asked, body in answers.items():
            if asked.partition("?")[0] == path and isinstance(body, Mapping):
                return body
    return {}


def part(body: Mapping[str, object], key: str) -> Mapping[str, object]:
    """The object under a key; an empty one where there is none."""
    inner = body.get(key)
    return inner if isinstance(inner, Mapping) else {}


def parts(body: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    """The objects in the list under a key."""
    inner = body.get(key)
    return [item for item in inner if isinstance(item, Mapping)] if isinstance(inner, list) else []


def text(body: Mapping[str, object], key: str) -> str | None:
    """The text under a key, or None."""
    inner = body.get(key)
    return inner if isinstance(inner, str) and inner else None


def setting(body: Mapping[str, object], key: str) -> KnobValue | None:
    """The plain value under a key; None for null and for anything that is no setting."""
    inner = body.get(key)
    return inner if isinstance(inner, (bool, int, float, str)) else None
