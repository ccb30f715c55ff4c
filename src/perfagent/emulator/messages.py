"""JSON bodies that come in and go out, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig

CHARACTERS_PER_TOKEN = 4
"""The emulated tokenizer; about what tokenizers of English text come to."""
DEFAULT_MAX_TOKENS = 16
"""As in OpenAI's completions API."""
WORD = " emulated"


@dataclass(frozen=True, slots=True)
class Completion:
    """What a client asks for."""

    prompt_tokens: int
    max_tokens: int
    stream: bool


def completion_of(body: object) -> Completion:
    """A completions request; the prompt may be text or token numbers. Raises `InvalidInput`."""
    asked = _object(body)
    prompt, max_tokens, stream = asked.get("prompt"), asked.get("max_tokens", DEFAULT_MAX_TOKENS), asked.get("stream")
    if isinstance(prompt, str) and prompt:
        prompt_tokens = ceil(len(prompt) / CHARACTERS_PER_TOKEN)
    elif isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt):
        prompt_tokens = len(prompt)
    else:
        raise InvalidInput("`prompt` is text or a list of token numbers, and not empty")
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
        raise InvalidInput("`max_tokens` is a whole number of at least 1")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidInput("`stream` is true or false")
    return Completion(prompt_tokens, max_tokens, stream is True)


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
    request_id: str, model: str, created_s: float, prompt_tokens: int, *, tokens: int, finished: bool, whole: bool
) -> dict[str, object]:
    """A completion, or a piece of a streamed one, in the form of OpenAI's API."""
    body: dict[str, object] = {
        "id": f"cmpl-{request_id}",
        "object": "text_completion",
        "created": int(created_s),
        "model": model,
        "choices": [
            {"index": 0, "text": WORD * tokens, "logprobs": None, "finish_reason": "length" if finished else None}
        ],
    }
    if whole:
        body["usage"] = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": prompt_tokens + tokens,
        }
    return body


def _is_text(value: object) -> bool:
    """Text that can be sent on: JSON can also spell halves of characters."""
    return isinstance(value, str) and value == value.encode(errors="ignore").decode()


def _object(body: object) -> Mapping[str, object]:
    if not isinstance(body, Mapping):
        raise InvalidInput("the body is no JSON object")
    return body
