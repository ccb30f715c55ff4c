import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.emulator.messages import Completion, as_launch, completion_of, generate_of, launch_of


def test_a_launch_configuration_comes_back_as_it_went_out() -> None:
    launch = LaunchConfig(("--max-num-seqs", "8", "-q=fp8"), (("B", "1"), ("A", "2")))
    assert launch_of(as_launch(launch)) == launch
    assert launch_of({}) == LaunchConfig()


@pytest.mark.parametrize(
    "body", [None, [], "x", {"flags": "--a"}, {"flags": [1]}, {"env": {"A": 1}}, {"env": []}, {"flag": ["--a"]}]
)
def test_anything_else_is_no_launch_configuration(body: object) -> None:
    with pytest.raises(InvalidInput):
        launch_of(body)


def test_a_prompt_is_text_of_four_characters_a_token_or_token_numbers() -> None:
    assert completion_of({"prompt": "hello"}) == Completion("hello", 2, 16)
    assert completion_of({"prompt": [1, 2, 3], "max_tokens": 5, "stream": True}) == Completion(
        "[1, 2, 3]", 3, 5, stream=True
    )
    assert completion_of({"prompt": "hello", "logprobs": 0}).logprobs


def test_tgis_own_request_has_inputs_and_parameters() -> None:
    assert generate_of({"inputs": "hello"}) == Completion("hello", 2, 16)
    wanted = {"max_new_tokens": 5, "do_sample": False, "details": True}
    assert generate_of({"inputs": "hello", "parameters": wanted}) == Completion("hello", 2, 5, logprobs=True)


@pytest.mark.parametrize(
    "body",
    [[], {}, {"inputs": ""}, {"inputs": [1]}, {"inputs": "a", "parameters": 3}]
    + [{"inputs": "a", "parameters": {"max_new_tokens": bad}} for bad in (0, True, "2", None)],
)
def test_anything_else_is_no_request_of_tgis(body: object) -> None:
    with pytest.raises(InvalidInput):
        generate_of(body)


@pytest.mark.parametrize(
    "body",
    [[], {}, {"prompt": ""}, {"prompt": []}, {"prompt": ["a"]}, {"prompt": 3}]
    + [{"prompt": "a", "max_tokens": bad} for bad in (0, -1, 1.5, "2", True, None)]
    + [{"prompt": "a", "stream": bad} for bad in ("yes", 1)]
    + [{"prompt": "a", "logprobs": bad} for bad in ("yes", True, -1, 1.5)],
)
def test_anything_else_is_no_completions_request(body: object) -> None:
    with pytest.raises(InvalidInput):
        completion_of(body)
