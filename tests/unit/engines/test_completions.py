"""How engines are asked for answers, and what real ones send back."""

import json
from typing import Any

import pytest

from perfagent import engines
from perfagent.domain.errors import BadAnswer
from perfagent.domain.quality import Answer
from support.pages import FIXTURES

WIRE = FIXTURES / "answers"


def sent(name: str) -> Any:
    return json.loads((WIRE / f"{name}.json").read_text())


def test_an_engine_with_openais_api_is_asked_for_the_likeliest_tokens_and_their_log_probabilities() -> None:
    for engine in ("vllm", "sglang"):
        path, body = engines.question(engine, "llama", "The sky is", 4)
        assert path == "/v1/completions"
        assert body == {
            "model": "llama",
            "prompt": "The sky is",
            "max_tokens": 4,
            "temperature": 0,
            "seed": 0,
            "logprobs": 1,
        }
        assert engines.names_model(engine)


def test_tgi_is_asked_in_its_own_way_which_tells_probabilities() -> None:
    path, body = engines.question("tgi", "", "The sky is", 4)
    assert path == "/generate"
    wanted = {"max_new_tokens": 4, "do_sample": False, "seed": 0, "details": True}
    assert body == {"inputs": "The sky is", "parameters": wanted}
    assert not engines.names_model("tgi")


def test_what_a_real_vllm_sends_is_read() -> None:
    assert engines.answered("vllm", sent("vllm-0.32.0")) == Answer(
        ("l", "l", "l", "l"), (-5.37123, -5.418915, -5.373793, -5.359989)
    )


def test_what_a_real_sglang_sends_is_read() -> None:
    assert engines.answered("sglang", sent("sglang-0.5.23")) == Answer(
        (" a", " copy", " of", "\n"), (-2.020566, -3.183079, -1.198349, -1.385021)
    )


def test_what_tgi_documents_is_read() -> None:
    tokens = [{"id": 4, "text": " blue", "logprob": -0.5, "special": False}, {"id": 5, "text": ".", "logprob": -1}]
    told = {"generated_text": " blue.", "details": {"finish_reason": "length", "tokens": tokens}}
    assert engines.answered("tgi", told) == Answer((" blue", "."), (-0.5, -1.0))


@pytest.mark.parametrize(
    "logprobs", [None, [], [-0.5], [-0.5, None], [-0.5, "x"], [-0.5, float("-inf")], [True, 1], [-0.5, -(10**400)]]
)
def test_probabilities_that_are_not_told_of_every_token_are_told_of_none(logprobs: object) -> None:
    body = {"choices": [{"text": "ab", "logprobs": {"tokens": ["a", "b"], "token_logprobs": logprobs}}]}
    assert engines.answered("vllm", body) == Answer(("a", "b"))


def test_half_a_character_can_be_written_down() -> None:
    body = {"choices": [{"logprobs": {"tokens": ["\ud83d", "a"], "token_logprobs": [-1, -1]}}]}
    assert engines.answered("vllm", body).tokens == ("?", "a")


def test_no_token_is_more_than_certain() -> None:
    body = {"choices": [{"logprobs": {"tokens": ["a", "b", "c"], "token_logprobs": [1e-9, 800.0, -0.5]}}]}
    assert engines.answered("vllm", body).logprobs == (0.0, 0.0, -0.5)


@pytest.mark.parametrize(
    "body",
    [None, [], "x", {}, {"choices": []}, {"choices": [{"text": "hello", "logprobs": None}]}, {"choices": 3}]
    + [{"choices": [{"logprobs": {"tokens": tokens}}]} for tokens in ([], [1], ["a", None], "ab")],
)
@pytest.mark.parametrize("engine", engines.ENGINES)
def test_an_answer_without_tokens_is_none(engine: str, body: object) -> None:
    with pytest.raises(BadAnswer, match="without telling its tokens"):
        engines.answered(engine, body)


@pytest.mark.parametrize("body", [None, {}, {"data": []}, {"data": [{}]}, {"data": [{"id": 3}]}])
def test_a_list_without_a_model_names_none(body: object) -> None:
    with pytest.raises(BadAnswer, match="named no model"):
        engines.served_model(body)


def test_adapters_stand_behind_the_model_that_they_are_for() -> None:
    assert engines.served_model({"data": [{"id": "llama"}, {"id": "adapter", "parent": "llama"}]}) == "llama"
