"""JSON bodies that come in and go out, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.emulator.answers import Word

CHARACTERS_PER_TOKEN = 4
"""The emulated tokenizer; about what tokenizers of English text come to."""
DEFAULT_MAX_TOKENS = 16
"""As in OpenAI's completions API."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a client asks for."""

    prompt: str
    """As text, token numbers too: the same prompt has the same answer."""
    prompt_tokens: int
    max_tokens: int
    stream: bool = False
    logprobs: bool = False
    """Log-probabilities are to be told."""


def completion_of(body: object) -> Completion:
    """A completions request; the prompt may be text or token numbers. Raises `InvalidInput`."""
    asked = _object(body)
    prompt, stream, logprobs = asked.get("prompt"), asked.get("stream"), asked.get("logprobs")
    if isinstance(prompt, str) and prompt:
        prompt_tokens = _tokens(prompt)
    elif isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt):
        prompt_tokens = len(prompt)
    else:
        raise InvalidInput("`prompt` is text or a list of token numbers, and not empty")
    max_tokens = _count(asked, "max_tokens")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidInput("`stream` is true or false")
    if logprobs is not None and (isinstance(logprobs, bool) or not isinstance(logprobs, int) or logprobs < 0):
        raise InvalidInput("`logprobs` is a whole number")
    return Completion(str(prompt), prompt_tokens, max_tokens, stream is True, logprobs is not None)


def generate_of(body: object) -> Completion:
    """A request of TGI's own API, which is never streamed here. Raises `InvalidInput`."""
    asked = _object(body)
    inputs = asked.get("inputs")
    if not isinstance(inputs, str) or not inputs:
        raise InvalidInput("`inputs` is text, and not empty")
    wanted = _object(asked.get("parameters", {}))
    tokens = _count(wanted, "max_new_tokens")
    return Completion(inputs, _tokens(inputs), tokens, logprobs=wanted.get("details") is True)


def launch_of(body: object) -> LaunchConfig:
    """A launch configuration: `{"flags": ["--a=b", …], "env": {"NAME": "value"}}`. Raises `InvalidInput`."""
    given = _object(body)
    unknown = sorted(set(given) - {"flags", "env"})
    if unknown:
        raise InvalidInput(f"a launch configuration has flags and env, not {unknown[0]!r}")
    flags, env = given.get("flags", []), given.get("env", {})
    if not isinstance(flags, list) or not all(map(_is_text, flags)):
        raise InvalidInput("`flags` is a list of texts")
    if not isinstance(env, Mapping) or not all(map(_is_text, (*env, *env.values()))):
        raise InvalidInput("`env` is an object of texts")
    return LaunchConfig(tuple(flags), tuple((str(name), str(value)) for name, value in env.items()))


def as_launch(launch: LaunchConfig) -> dict[str, object]:
    """The same, going out."""
    return {"flags": list(launch.flags), "env": dict(launch.env)}


def as_completion(
    request_id: str,
    model: str,
    created_s: float,
    wanted: Completion,
    words: Sequence[Word],
    *,
    finished: bool,
    logprobs: bool,
) -> dict[str, object]:
    """A completion, or a piece of a streamed one, in the form of OpenAI's API."""
    choice = {
        "index": 0,
        "text": "".join(word.text for word in words),
        "logprobs": _logprobs(words) if logprobs else None,
        "finish_reason": "length" if finished else None,
    }
    body: dict[str, object] = {
        "id": f"cmpl-{request_id}",
        "object": "text_completion",
        "created": int(created_s),
        "model": model,
        "choices": [choice],
    }
    if not wanted.stream:
        body["usage"] = {
            "prompt_tokens": wanted.prompt_tokens,
            "completion_tokens": len(words),
            "total_tokens": wanted.prompt_tokens + len(words),
        }
    return body


def as_generated(wanted: Completion, words: Sequence[Word]) -> dict[str, object]:
    """An answer in the form of TGI's own API."""
    body: dict[str, object] = {"generated_text": "".join(word.text for word in words)}
    if wanted.logprobs:
        tokens = [
            {"id": number, "text": word.text, "logprob": word.logprob, "special": False}
            for number, word in enumerate(words)
        ]
        body["details"] = {"finish_reason": "length", "generated_tokens": len(words), "tokens": tokens}
    return body


def _logprobs(words: Sequence[Word]) -> dict[str, object]:
    lengths = [len(word.text) for word in words]
    return {
        "tokens": [word.text for word in words],
        "token_logprobs": [word.logprob for word in words],
        "top_logprobs": [{word.text: word.logprob} for word in words],
        "text_offset": [0, *accumulate(lengths)][: len(words)],
    }


def _tokens(text: str) -> int:
    return ceil(len(text) / CHARACTERS_PER_TOKEN)


def _count(asked: Mapping[str, object], name: str) -> int:
    given = asked.get(name, DEFAULT_MAX_TOKENS)
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise InvalidInput(f"`{name}` is a whole number of at least 1")
    return given


def _is_text(value: object) -> bool:
    """Text that can be sent on: JSON can also spell halves of characters."""
    return isinstance(value, str) and value == value.encode(errors="ignore").decode()


def _object(body: object) -> Mapping[str, object]:
    if not isinstance(body, Mapping):
        raise InvalidInput("the body is no JSON object")
    return body
