"""The habits of every engine's server, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from perfagent.domain.errors import InvalidInput
from perfagent.engines.habits import Habits
from perfagent.engines.sglang.habits import HABITS as SGLANG
from perfagent.engines.tgi.habits import HABITS as TGI
from perfagent.engines.vllm.habits import HABITS as VLLM

_HABITS: Mapping[str, Habits] = MappingProxyType({"vllm": VLLM, "sglang": SGLANG, "tgi": TGI})


def habits(engine: str) -> Habits:
    """How a server of this engine behaves; raises `InvalidInput` for an engine that cannot be emulated."""
    if engine not in _HABITS:
        raise InvalidInput(f"no emulation of {engine!r}; there is one of {', '.join(_HABITS)}")
    return _HABITS[engine]
