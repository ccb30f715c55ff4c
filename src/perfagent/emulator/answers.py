"""What emulated replicas answer: words without meaning, always the same to the same prompt, and what fewer bits make
of them.

Every answer begins with the word "emulated". No model is behind it: another token at a place, and what follows then,
are drawn, as often as published measurements of a real model say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot, log
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perfagent.twin.data_types import DataTypes

FIRST = " emulated"
WORDS = (
    *(
        " river",
        " stone",
        " lamp",
        " garden",
        " winter",
        " paper",
        " engine",
        " market",
        " window",
        " bridge",
        " letter",
    ),
    *(" summer", " copper", " meadow", " signal", " harbour", " pencil", " mirror", " basket", " ladder", " candle"),
    *(
        " thunder",
        " pepper",
        " saddle",
        " blanket",
        " compass",
        " feather",
        " kettle",
        " orchard",
        " velvet",
        " anchor",
    ),
)
LEAST, MOST = 0.5, 0.95
"""Between these lies the probability of every token; an assumption."""


@dataclass(frozen=True, slots=True)
class Errors:
    """How far answers stray from those with 16 bits."""

    others: float = 0.0
    """Share of the places at which another token follows the same text."""
    shift: float = 0.0
    """Of tokens' probabilities, root mean square."""


_BY_BYTES: Mapping[float, Errors] = MappingProxyType(
    {2.0: Errors(), 1.0: Errors(0.023, 0.012), 0.5: Errors(0.081, 0.055)}
)
"""Of weights: Llama 3 8B in 8 and about 4 bits (q8_0, q4_K_M) in llama.cpp's tools/perplexity/README.md. That a KV
cache of so many bits does the same is an assumption."""


def errors(types: DataTypes) -> Errors:
    """What these data types make of answers; errors of weights and cache add up."""
    weights, cache = _BY_BYTES[types.weight_bytes], _BY_BYTES[types.kv_bytes]
    return Errors(weights.others + cache.others, hypot(weights.shift, cache.shift))


class Word(NamedTuple):
    """A token of an answer."""

    text: str
    logprob: float


def words(prompt: str, tokens: int, astray: Errors) -> list[Word]:
    """The answer to a prompt in so many tokens; a longer one begins with the shorter one's words."""
    said = _draws(prompt, tokens)
    luck = _draws(f"{astray} {prompt}", tokens)
    others = luck[:, 0] < astray.others
    others[:1] = False  # the first word is always the same
    if others.any():
        place = int(others.argmax())
        said[place:] = _draws(f"{place} {astray} {prompt}", tokens - place)
    probabilities = LEAST + (MOST - LEAST) * said[:, 1] + astray.shift * np.where(luck[:, 1] < 1 / 2, -1, 1)
    spoken = [WORDS[int(draw * len(WORDS))] for draw in said[:, 0]]
    return [
        Word(text, log(max(probability, 0.01)))
        for text, probability in zip((FIRST, *spoken[1:]), np.minimum(probabilities, 1.0).tolist(), strict=True)
    ]


def _draws(seed: str, rows: int) -> NDArray[np.float64]:
    """Two numbers from 0 to 1 for each row, always the same ones for the same seed."""
    return np.random.default_rng(list(seed.encode(errors="surrogatepass"))).random((rows, 2))
