"""What a server runs on and serves, from how people, model cards and the servers themselves write it down."""

import re
from collections.abc import Mapping
from math import isfinite

from perfagent.domain.errors import InvalidInput
from perfagent.domain.machine import CPU, Machine, ModelShape
from perfagent.engines.spec import Hosted
from perfagent.twin.gpus import NAMES
from perfagent.twin.models import PUBLISHED

_COUNT = re.compile(r"(\d+)\s*[x×]\s")
_IN_WORDS = {
    "params": re.compile(r"(\d+(?:\.\d+)?)\s*B\s+param", re.IGNORECASE),
    "layers": re.compile(r"(\d+)\s+layers", re.IGNORECASE),
    "width": re.compile(r"hidden\D{0,10}(\d+)", re.IGNORECASE),
    "kv_heads": re.compile(r"(\d+)\s+KV heads", re.IGNORECASE),
    "head_dim": re.compile(r"head[ _]dim\D{0,6}(\d+)", re.IGNORECASE),
}
_OF_GPUS = frozenset({"gpu", "gpus", "nvidia", "geforce", "rtx", "tesla", "quadro", "amd", "instinct", "gaudi", "tpu"})
"""Words that tell of an accelerator, though perhaps of none that we know, beside whatever processor it has."""
_FIELDS = ("params", "layers", "kv_heads", "head_dim", "width")
_MOST_GPUS = 1024


def machine(hardware: object, model: object) -> Machine:
    """A machine from a recording's `hardware` and `model`; what is not understood is not known."""
    text = hardware if isinstance(hardware, str) else ""
    many = _COUNT.search(text)
    return Machine(gpu_named(text), int(many[1]) if many and 1 <= int(many[1]) <= _MOST_GPUS else 1, shape(model))


def found(told: Hosted) -> Machine:
    """A machine from what a server tells: a GPU that we have the data sheet of, the shape of a published model."""
    gpu, shape = gpu_named(told.hardware), PUBLISHED.get(told.model)
    return Machine(
        gpu,
        told.count if 1 <= told.count <= _MOST_GPUS else 1,
        shape,
        gpu_from="" if gpu is None else f"the server says that it runs on {gpu}",
        shape_from=""
        if shape is None
        else f"the model's shape is that of {told.model}, which the server says it loaded",
    )


def gpu_named(text: str) -> str | None:
    """The GPU whose name is in a text, such as `NVIDIA H100 PCIe`; `cpu` for processor cores; None for neither."""
    words = re.sub(r"(?<=\d)gi?b\b", " gb", re.sub(r"[^a-z0-9]+", " ", text.lower())).split()
    found = [name for name in NAMES if all(part in words for part in name.split("-"))]
    if found:
        return max(found, key=len)
    return CPU if "cpu" in words and _OF_GPUS.isdisjoint(words) else None


def shape(model: object) -> ModelShape | None:
    """A model's shape, from a sentence, its own fields or those of a `config.json`; None where that is not enough."""
    try:
        if isinstance(model, str):
            found = {name: match[1] for name, pattern in _IN_WORDS.items() if (match := pattern.search(model))}
            return None if "params" not in found else _shape({**found, "params": float(found["params"]) * 1e9})
        if not isinstance(model, Mapping):
            return None
        return _shape(model) if "params" in model else _of_config(model)
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError, InvalidInput):
        return None


def shape_told(text: str) -> ModelShape:
    """A shape as people give it: `params=8e9,layers=32,kv_heads=8,head_dim=128`. Raises `InvalidInput`."""
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown:
        raise InvalidInput(f"a model has no {unknown[0]!r}; say {', '.join(_FIELDS)}")
    try:
        return _shape(fields)
    except (KeyError, ValueError, OverflowError) as wrong:
        raise InvalidInput(f"{text!r} is no model: say params=8e9,layers=32,kv_heads=8,head_dim=128") from wrong


def _shape(fields: Mapping[str, object]) -> ModelShape:
    numbers = {name: float(str(fields[name])) for name in _FIELDS if name in fields}
    if not all(isfinite(number) for number in numbers.values()):
        raise ValueError("not finite")
    return ModelShape(
        params=numbers["params"],
        layers=int(numbers["layers"]),
        kv_heads=int(numbers["kv_heads"]),
        head_dim=int(numbers["head_dim"]),
        width=int(numbers.get("width", 0)),
    )


def _of_config(config: Mapping[object, object]) -> ModelShape:
    """Parameters of a Llama-like decoder: attention, a gated MLP, embeddings and output layer."""

    def number(name: str, default: float | None = None) -> int:
        return int(float(str(config[name] if default is None else config.get(name, default))))

    width, layers, heads = number("hidden_size"), number("num_hidden_layers"), number("num_attention_heads")
    head_dim = number("head_dim", width / heads)
    kv_heads = number("num_key_value_heads", heads)
    attention = width * head_dim * (2 * heads + 2 * kv_heads)
    params = layers * (attention + 3 * width * number("intermediate_size")) + 2 * width * number("vocab_size")
    return ModelShape(params=params, layers=layers, kv_heads=kv_heads, head_dim=head_dim, width=heads * head_dim)
