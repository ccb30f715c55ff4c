"""`perfagent probe`, the wire faked by respx."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import respx
from typer.testing import CliRunner, Result

from perfagent.cli.main import app

OLD, NEW = "http://old:8000", "http://new:8000"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["probe", "--engine", "vllm", "--baseline", OLD, "--canary", NEW, *arguments])


def answering(say: Callable[[str], str]) -> Callable[[httpx.Request], httpx.Response]:
    """A server that says this, a token a character."""

    def answer(request: httpx.Request) -> httpx.Response:
        tokens = list(say(json.loads(request.content)["prompt"]))
        told = {"tokens": tokens, "token_logprobs": [-0.1] * len(tokens)}
        return httpx.Response(200, json={"choices": [{"text": "".join(tokens), "logprobs": told}]})

    return answer


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        for url in (OLD, NEW):
            router.get(f"{url}/v1/models").respond(json={"data": [{"id": "llama"}]})
            router.post(f"{url}/v1/completions").mock(side_effect=answering(lambda prompt: f"{prompt:.64}"))
        yield router


def test_servers_that_answer_alike_are_a_success(wire: respx.MockRouter) -> None:
    answer = run()
    assert answer.exit_code == 0
    assert answer.stdout.startswith("promote\nanswers are as before: 0.0% of ")
    assert len([call for call in wire.calls if call.request.method == "POST"]) == 3 * 24


def test_other_answers_are_none_and_everything_is_told(wire: respx.MockRouter) -> None:
    wire.post(f"{NEW}/v1/completions").mock(side_effect=answering(str.upper))
    answer = run("-o", "json")
    told = json.loads(answer.stdout)
    assert (answer.exit_code, told["verdict"]) == (1, "hold")
    assert told["reason"].startswith("answers are not as before: ")
    assert (len(told["answers"]), len(told["before"])) == (24, 24)


def test_your_own_prompts_and_limits_are_taken(wire: respx.MockRouter, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(f'{{"prompt": "{k} is a number and this is a text"}}\n' for k in range(3)))
    wire.post(f"{NEW}/v1/completions").mock(side_effect=answering(lambda prompt: prompt[:-1] + "!"))
    assert run("--prompts", str(path)).exit_code == 1
    assert run("--prompts", str(path), "--tokens-differ", "0.2").exit_code == 0
    assert {json.loads(call.request.content)["prompt"][0] for call in wire.calls if call.request.content} == set("012")


@pytest.mark.parametrize(
    "arguments", [("--tokens-differ", "0"), ("--prompts", "nowhere.jsonl"), ("--canary", "no address")]
)
def test_what_cannot_be_meant_is_wrong_use(wire: respx.MockRouter, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
    assert not wire.calls


def test_a_server_that_does_not_answer_is_told(wire: respx.MockRouter) -> None:
    wire.post(f"{NEW}/v1/completions").respond(500)
    answer = run()
    assert answer.exit_code == 3
    assert f"{NEW}/v1/completions answered 500" in answer.stderr
