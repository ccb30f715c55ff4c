"""Writes an emulated process's metrics page in its engine's own spelling (text format 0.0.4).

Everything but the numbers is prepared once per process, so a page costs little more than formatting its numbers.
"""

from collections.abc import Callable, Mapping
from math import inf

from prometheus_client.utils import floatToGoString

from perfagent.domain.metric import Kind, Metric
from perfagent.domain.snapshot import Labels
from perfagent.emulator.meters import Meters
from perfagent.engines.writing import Exposition, Family, filled

NOTICE = "# emulated by perfagent: these are not the figures of a real server\n"
"""The page's first line; parsers pass over it."""

Levels = Mapping[Metric, float]
"""Gauges right now."""
_Writer = Callable[[Levels, list[str]], None]


class Page:
    """The page of one process."""

    def __init__(
        self, exposition: Exposition, meters: Meters, *, model: str, info: Mapping[str, str], started_at_s: float
    ) -> None:
        self._meters = meters
        self._lazy = exposition.lazy
        self._head = NOTICE + _constants(exposition, model, info, started_at_s)
        by_name: dict[str, list[Family]] = {}
        for family in exposition.families:
            by_name.setdefault(family.name, []).append(family)
        self._groups = [
            (_declared(name, families[0].type), [self._writer(family, model) for family in families])
            for name, families in by_name.items()
        ]

    def render(self, levels: Levels) -> str:
        """The page as it stands; a counter or histogram stands for what the process did since it started."""
        self._meters.close_step()
        parts = [self._head]
        for declaration, writers in self._groups:
            lines: list[str] = []
            for write in writers:
                write(levels, lines)
            if lines:
                parts.append(declaration)
                parts += lines
        return "".join(parts)

    def _writer(self, family: Family, model: str) -> _Writer:
        labels = family.series(model, 0)
        if family.metric.kind is Kind.HISTOGRAM:
            return self._histogram(family, labels)
        if family.metric.kind is Kind.COUNTER:
            return self._counter(family, labels)
        return self._gauge(family, labels)

    def _histogram(self, family: Family, labels: Labels) -> _Writer:
        buckets = self._meters.histograms[family.metric, family.edges]
        edges = (*family.edges, inf)
        heads = [_head(family.name + "_bucket", (*labels, ("le", _edge(edge)))) for edge in edges]
        count_head, sum_head = _head(family.name + "_count", labels), _head(family.name + "_sum", labels)

        def write(_: Levels, lines: list[str]) -> None:
            reached = 0
            start = len(lines)
            for head, count in zip(heads, buckets.counts, strict=True):
                reached += count
                lines.append(f"{head}{reached}.0\n")
            if not reached and self._lazy:
                del lines[start:]
            else:
                lines.append(f"{count_head}{reached}.0\n{sum_head}{buckets.total!r}\n")

        return write

    def _counter(self, family: Family, labels: Labels) -> _Writer:
        head, metric, meters = _head(family.name, labels), family.metric, self._meters
        less = [b for (m, _), b in meters.histograms.items() if m is family.less][:1]

        def write(_: Levels, lines: list[str]) -> None:
            value = meters.counted(metric) - sum(sum(buckets.counts) for buckets in less)
            if value or not self._lazy:
                lines.append(f"{head}{float(value)!r}\n")

        return write

    def _gauge(self, family: Family, labels: Labels) -> _Writer:
        head, metric = _head(family.name, labels), family.metric
        at_once = not self._lazy or metric is Metric.KV_CAPACITY

        def write(levels: Levels, lines: list[str]) -> None:
            if at_once or self._meters.asked:
                lines.append(f"{head}{float(levels[metric])!r}\n")

        return write


def _constants(exposition: Exposition, model: str, info: Mapping[str, str], started_at_s: float) -> str:
    """What a process says once and for all: its start, and its configuration."""
    text = ""
    if exposition.started_at is not None:
        text += _declared(exposition.started_at, "gauge") + f"{exposition.started_at} {started_at_s!r}\n"
    if exposition.info_name is not None:
        told = tuple((key, info.get(key, "None")) for key in exposition.info_keys)
        labels = (*filled(exposition.info_labels, model, 0), *told)
        text += _declared(exposition.info_name, "gauge") + _head(exposition.info_name, labels) + "1.0\n"
    first = exposition.families[0].series(model, 0)
    for name, key in exposition.info_values.items():
        text += _declared(name, "gauge") + f"{_head(name, first)}{float(info[key])!r}\n"
    return text


def _declared(name: str, kind: str) -> str:
    return f"# HELP {name} Emulated.\n# TYPE {name} {kind}\n"


def _head(name: str, labels: Labels) -> str:
    """A sample line up to its value, labels in alphabetical order as the Python client writes them."""
    if not labels:
        return f"{name} "
    inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in sorted(labels))
    return f"{name}{{{inner}}} "


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _edge(edge: float) -> str:
    return str(floatToGoString(edge))  # type: ignore[no-untyped-call]
