"""The only place where engines are known by name: one table each, and the functions that read the tables.

A new engine is one folder with an `EngineSpec` and one line in `ENGINES`; `docs/adding-an-engine.md` has the steps.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from perfagent.domain.errors import InvalidInput
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Sample, Snapshot
from perfagent.engines import reading
from perfagent.engines.sglang import SGLANG
from perfagent.engines.spec import EngineSpec
from perfagent.engines.tgi import TGI
from perfagent.engines.vllm import VLLM

ENGINES: Mapping[str, EngineSpec] = MappingProxyType({engine.name: engine for engine in (VLLM, TGI, SGLANG)})


def spec(name: str) -> EngineSpec:
    """An engine's table; raises `InvalidInput` for an engine that we do not know."""
    if name not in ENGINES:
        raise InvalidInput(f"unknown engine {name!r}; known are {', '.join(ENGINES)}")
    return ENGINES[name]


def wanted(engine: str | None) -> frozenset[str]:
    """The names of the samples that an engine's table looks at; of all engines' for None, to recognise one by."""
    return reading.wanted(spec(engine)) if engine is not None else _WANTED_BY_ANY


_WANTED_BY_ANY = frozenset[str]().union(*(reading.wanted(engine) for engine in ENGINES.values()))


def recognise(names: Iterable[str]) -> str | None:
    """The engine whose page has samples of these names; None for a page of none that we know, an empty one included."""
    return reading.recognise(ENGINES.values(), names)


def read(engine: str, samples: Iterable[Sample], *, target: str, at_s: float) -> Snapshot:
    """One page's samples as a snapshot.

    What the page does not carry, or carries in a form that cannot be (a histogram without +Inf, a NaN), is absent.
    """
    return reading.read(spec(engine), samples, target=target, at_s=at_s)


def gap(engine: str, metric: Metric) -> str | None:
    """Why no release of this engine tells a metric; None where some release does."""
    return spec(engine).gaps.get(metric)
