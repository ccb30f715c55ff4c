"""Releases of the engines, compared as their makers number them.

Only what the engines use: `0.26.0`, `v3.3.7`, `0.5.10.post1`, `0.11.0rc1`, `0.33.1.dev12+g0123abc`. Local parts after
`+` say how something was built and are ignored.
"""

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import TypeVar

from perfagent.domain.errors import InvalidInput

T = TypeVar("T")

_FORM = re.compile(
    r"v?(\d{1,9}(?:\.\d{1,9})*)(?:[._-]?(dev|a|b|rc)\.?(\d{,9}))?(?:\.?post(\d{1,9})(?:\.dev\d*)?)?(?:[+-].*)?",
    re.IGNORECASE,
)
_PHASES = {"dev": 0, "a": 1, "b": 2, "rc": 3}
_FINAL = 4


@total_ordering
@dataclass(frozen=True, slots=True)
class Release:
    """A release; a pre-release comes before the release it leads to, a post-release after it."""

    numbers: tuple[int, ...]
    phase: int = _FINAL
    serial: int = 0
    post: int = -1

    def __lt__(self, other: "Release") -> bool:
        return self._key < other._key

    @property
    def _key(self) -> tuple[tuple[int, ...], int, int, int]:
        return (self.numbers, self.phase, self.serial, self.post)


def parse(text: str) -> Release:
    """Read a release; raises `InvalidInput` for what is none (`latest`, a commit)."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"{text!r} is not a release number")
    numbers = [int(part) for part in match[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    phase = _PHASES[match[2].lower()] if match[2] else _FINAL
    return Release(tuple(numbers), phase, int(match[3] or 0), -1 if match[4] is None else int(match[4]))


def known(text: str | None) -> str | None:
    """The text where it is a release number, else None: a build of no known release is an unknown release."""
    if text is None or _FORM.fullmatch(text.strip()) is None:
        return None
    return text


def within(release: str | None, since: str | None, until: str | None) -> bool:
    """Whether `release` lies in a span. `until` is the last series that still counts: `0.27` includes 0.27.3.

    An unknown release is taken to be the newest, so only spans that are still open include it.
    """
    if release is None:
        return until is None
    at = parse(release)
    if since is not None and at < parse(since):
        return False
    if until is None:
        return True
    series = tuple(int(part) for part in until.split("."))
    padded = at.numbers + (0,) * (len(series) - len(at.numbers))
    return padded[: len(series)] <= series


def pick(release: str | None, by_release: tuple[tuple[str | None, T], ...]) -> T | None:
    """The entry in force at `release`, from (since, entry) pairs newest first.

    For an unknown release there is an answer only where it has always been the same.
    """
    if release is None:
        return by_release[0][1] if len(by_release) == 1 and by_release[0][0] is None else None
    return next((entry for since, entry in by_release if within(release, since, None)), None)
