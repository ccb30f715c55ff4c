"""Reads a Prometheus text or OpenMetrics page in one pass: only the names that are wanted, nothing but their samples.

Nothing wrong may ever be read as a number. A page that is cut off, or has one line that does not parse, is refused as
a whole: a scrape that is missing does no harm, while half a page shows counters that seem to begin later, and the last
number on it may lack digits. So the last line must end in a newline, as the format demands, or be OpenMetrics' `# EOF`.

A server's next page has the same series with other numbers. So a `Scanner` remembers the text before each number
together with the name and labels that it means, and string methods alone do the rest. Whatever does not fit (escapes,
timestamps, exemplars, quoted names, odd spacing) goes through the full grammar.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4 and 1.0.0) and
https://prometheus.io/docs/specs/om/open_metrics_spec/.
"""

import re
from functools import lru_cache
from typing import Literal

from perfagent.domain.errors import BadAnswer, TooLarge
from perfagent.domain.snapshot import Labels, Sample

MAX_LINES = 100_000
"""An SGLang page with two ranks has 1,100 lines; a hundred times that is no inference server's page any more."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*+")
_QUOTED = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_LABEL = re.compile(rf"[ \t]*+(?:([a-zA-Z_][a-zA-Z0-9_]*+|{_QUOTED})[ \t]*+=)?[ \t]*+({_QUOTED})[ \t]*+(?:,[ \t]*+|\Z)")
_LINE = re.compile(
    rf"""({_NAME.pattern})?[ \t]*+                  # name; a quoted one stands among the labels
    (?:\{{((?:[^"}}]|{_QUOTED})*+)\}}[ \t]*+)?      # labels
    (?<=[ \t}}])([^ \t#_]++)                        # value; Python's digit grouping makes no number here
    (?:[ \t]++[0-9.eE+-]++)?+                       # timestamp
    (?:[ \t]++\#[ \t]*+\{{.*+)?+                    # exemplar""",
    re.VERBOSE,
)
_BEFORE_A_VALUE = re.compile(r"(,?)[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+")
_ESCAPE = re.compile(r'\\([\\n"])')
_MEANT = {"\\": "\\", "n": "\n", '"': '"'}

MAX_REMEMBERED = 1 << 15
"""Series that a scanner remembers, about 0.5 kB each; a fleet of one model shares most of its series."""
MAX_REMEMBERED_LENGTH = 4096
"""Characters of a series that is remembered; the longest on a real page, vLLM's `cache_config_info`, has 1,100."""

_Series = tuple[str, Labels] | Literal[False]
"""Name and labels, or False for what is not wanted."""

_new_sample = tuple.__new__
"""A `NamedTuple` builds itself in Python; at a few hundred samples per page that is a tenth of the whole scan."""


class Scanner:
    """Scans pages for the samples named in `wanted` (exact names, with `_bucket`, `_sum`, …; None: all).

    It may be used for any number of servers. What it remembers is bounded and never changes what it answers.
    """

    def __init__(self, wanted: frozenset[str] | None = None, *, max_lines: int = MAX_LINES) -> None:
        self._wanted = wanted
        self._max_lines = max_lines
        self._known: dict[str, _Series] = {}

    def scan(self, page: str | bytes, *, openmetrics: bool = False) -> list[Sample]:
        """The wanted samples in page order.

        `openmetrics` says that the page declares itself to be OpenMetrics and therefore must end in `# EOF`.

        Raises `BadAnswer` for a page that is cut off or has a line that does not parse, and `TooLarge` for one with
        more than `max_lines` lines. The labels of what is not wanted are not looked at.
        """
        lines = _decoded(page).split("\n")
        if len(lines) > self._max_lines:
            raise TooLarge(f"the page has more than {self._max_lines} lines")
        rest = lines.pop()
        samples: list[Sample] = []
        known = self._known
        for line in lines:
            if not line or line[0] == "#":
                continue
            head, _, value = line.rpartition(" ")
            series = known.get(head)
            if series is None:
                series = self._learn(head)
            try:
                if series is None or "_" in value:
                    raise ValueError
                figure = float(value)
            except ValueError:
                samples += self._by_grammar(line, lines)
            else:
                if series:
                    samples.append(_new_sample(Sample, (*series, figure)))
        _check_the_end(lines, rest, openmetrics=openmetrics)
        return samples

    def _learn(self, head: str) -> _Series | None:
        """What `head` means if it is exactly a name, or a name with plain labels; None for anything else or longer."""
        if len(head) > MAX_REMEMBERED_LENGTH:
            return None
        name, brace, block = head.partition("{")
        if (brace and block[-1:] != "}") or not _NAME.fullmatch(name):
            return None
        series: _Series = False
        if self._wanted is None or name in self._wanted:
            labels = _plain_labels(block[:-1])
            if labels is None:
                return None
            series = (name, labels)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[head] = series
        return series

    def _by_grammar(self, line: str, lines: list[str]) -> tuple[Sample, ...]:
        try:
            sample = _sample(line)
        except ValueError:
            raise BadAnswer(f"line {lines.index(line) + 1} is not a sample: {line[:80]!r}") from None
        return (sample,) if sample and (self._wanted is None or sample.name in self._wanted) else ()


def scan(page: str | bytes, wanted: frozenset[str] | None = None) -> list[Sample]:
    """The samples of a single page; see `Scanner`."""
    return Scanner(wanted).scan(page)


def _decoded(page: str | bytes) -> str:
    if isinstance(page, str):
        return page
    try:
        return page.decode()
    except UnicodeDecodeError as error:
        raise BadAnswer(f"the page is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _check_the_end(lines: list[str], rest: str, *, openmetrics: bool) -> None:
    if rest.strip() not in ("", "# EOF"):
        raise BadAnswer(f"the page is cut off in line {len(lines) + 1}: {rest[:80]!r}")
    if openmetrics and "# EOF" not in (rest.strip(), *(line.strip() for line in lines[-1:])):
        raise BadAnswer(f"the page is cut off after line {len(lines)}: OpenMetrics ends with '# EOF'")


@lru_cache(maxsize=8192)
def _plain_labels(block: str) -> Labels | None:
    """Labels without escapes, taken apart at their quotes; None where that is not all there is to them."""
    if not block:
        return ()
    *parts, last = block.split('"')
    if "\\" in block or len(parts) % 2 or last not in ("", ","):
        return None
    keys = _keys(tuple(parts[::2]))
    return None if keys is None else tuple(zip(keys, parts[1::2], strict=True))


@lru_cache(maxsize=512)
def _keys(before: tuple[str, ...]) -> tuple[str, ...] | None:
    """The label names in the text before each value, such as `('engine=', ',le=')`; None where it is anything else."""
    matches = [_BEFORE_A_VALUE.fullmatch(text) for text in before]
    keys = tuple(match[2] for i, match in enumerate(matches) if match and bool(match[1]) == (i > 0))
    return keys if len(set(keys)) == len(before) else None


def _sample(line: str) -> Sample | None:
    """A line by the full grammar; None for a blank one or a comment. Raises `ValueError`."""
    text = line.strip()
    if not text or text[0] == "#":
        return None
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError(line)
    name, labels = _labels(match[2] or "")
    if bool(name) == bool(match[1]):
        raise ValueError(line)
    return Sample(match[1] or name, labels, float(match[3]))


def _labels(block: str) -> tuple[str, Labels]:
    """The metric's name where it stands among the labels (else empty), and the labels."""
    name, pairs, at = "", {}, 0
    block = block.strip(" \t")
    while at < len(block):
        match = _LABEL.match(block, at)
        if match is None:
            raise ValueError
        value = _plain(match[2])
        if match[1] is None:
            if name or not value:
                raise ValueError
            name = value
        else:
            key = _plain(match[1])
            if key in pairs or not key:
                raise ValueError
            pairs[key] = value
        at = match.end()
    return name, tuple(pairs.items())


def _plain(text: str) -> str:
    """A label's name or value without its quotes and escapes."""
    inner = text[1:-1] if text[0] == '"' else text
    return _ESCAPE.sub(lambda match: _MEANT[match[1]], inner)
