"""How an engine is asked to complete a text, always by the likeliest token, and how it tells tokens and probabilities.

What comes back is somebody else's JSON: taken apart here without trusting its shape.
"""

from collections.abc import Mapping
from enum import Enum
from typing import TypeGuard

from perfagent.domain.errors import BadAnswer
from perfagent.domain.quality import Answer
from perfagent.engines.answers import part, parts

SEED = 0
"""Nothing is drawn at temperature 0; it is said in case a server draws all the same."""
DIGITS = 6
"""Of a logarithm that are kept: more than 16 bits tell, and a third of what is sent."""

FARTHEST = 1e6
"""A number beyond this is no logarithm of a probability."""


class Completions(Enum):
    """What is spoken at a path."""

    OPENAI = "/v1/completions"
    """OpenAI's completions API, with log-probabilities."""
    GENERATE = "/generate"
    """TGI's own: its form of OpenAI's API tells no log-probabilities."""


def question(form: Completions, model: str, prompt: str, tokens: int) -> Mapping[str, object]:
    """The body of a request for an answer of at most so many tokens."""
    if form is Completions.GENERATE:
        wanted = {"max_new_tokens": tokens, "do_sample": False, "seed": SEED, "details": True}
        return {"inputs": prompt, "parameters": wanted}
    greedy = {"temperature": 0, "seed": SEED, "logprobs": 1}
    return {"model": model, "prompt": prompt, "max_tokens": tokens, **greedy}


def answer(form: Completions, body: object) -> Answer:
    """What a server answered. Raises `BadAnswer` where it told no tokens."""
    given = body if isinstance(body, Mapping) else {}
    if form is Completions.GENERATE:
        told = parts(part(given, "details"), "tokens")
        tokens, logprobs = [each.get("text") for each in told], [each.get("logprob") for each in told]
    else:
        seen = part(next(iter(parts(given, "choices")), {}), "logprobs")
        tokens, logprobs = _list(seen, "tokens"), _list(seen, "token_logprobs")
    # JSON can spell halves of characters, which cannot be written down
    texts = tuple(token.encode(errors="replace").decode() for token in tokens if isinstance(token, str))
    if not texts or len(texts) != len(tokens):
        raise BadAnswer("it answered without telling its tokens")
    numbers = tuple(round(min(float(value), 0.0), DIGITS) for value in logprobs if _is_number(value))
    return Answer(texts, numbers if len(numbers) == len(texts) else ())


def served_model(body: object) -> str:
    """The first model of `/v1/models`, which is the one that adapters are added to. Raises `BadAnswer`."""
    given = body if isinstance(body, Mapping) else {}
    name = next(iter(parts(given, "data")), {}).get("id")
    if not isinstance(name, str):
        raise BadAnswer("it named no model")
    return name


def _list(body: Mapping[str, object], key: str) -> list[object]:
    found = body.get(key)
    return found if isinstance(found, list) else []


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < FARTHEST
