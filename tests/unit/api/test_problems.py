import httpx
import pytest
from fastapi import FastAPI

from perfagent.api import problems
from perfagent.domain import errors
from perfagent.domain.errors import AgentError
from support.api import API, Site, problem


def classes(root: type[AgentError]) -> list[type[AgentError]]:
    return [root, *(found for each in root.__subclasses__() for found in classes(each))]


def test_every_error_of_the_tree_has_its_own_row() -> None:
    own = {each for each in classes(AgentError) if each.__module__ == errors.__name__}
    assert own == set(problems.KINDS)
    assert len({kind.slug for kind in problems.KINDS.values()}) == len(problems.KINDS)


def test_only_what_nobody_foresaw_is_a_500() -> None:
    assert [each for each, kind in problems.KINDS.items() if kind.status == 500] == [AgentError]


async def failing(error: Exception) -> httpx.Response:
    app = FastAPI()
    problems.install(app)

    @app.get("/fail")
    async def fail() -> None:
        raise error

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
        return await client.get("/fail")


@pytest.mark.parametrize("error", classes(AgentError))
async def test_every_error_is_answered_as_its_row_says(error: type[AgentError]) -> None:
    answer = await failing(error("what went wrong"))
    assert problem(answer) == (problems.kind_of(error()).status, problems.kind_of(error()).slug)
    assert answer.json()["detail"] == "what went wrong"
    assert answer.json()["instance"] == "/fail"


async def test_what_nobody_foresaw_tells_nothing_from_inside(caplog: pytest.LogCaptureFixture) -> None:
    answer = await failing(ValueError("secret inside"))
    assert problem(answer) == (500, "internal")
    assert "secret" not in answer.text
    assert "secret inside" in caplog.text


async def test_a_path_that_is_not_there_is_a_problem_too(at: Site) -> None:
    assert problem(await at.get("/nothing")) == (404, "no-such-path")
    assert problem(await at.client.get("http://agent/")) == (404, "no-such-path")


async def test_a_method_that_is_not_there_is_a_problem_that_names_the_ones_that_are(at: Site) -> None:
    answer = await at.post("/health")
    assert problem(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"null", b'{"instance_id": NaN}', b"[" * 100_000])
async def test_a_body_that_is_no_json_is_a_problem(at: Site, body: bytes) -> None:
    answer = await at.client.post(f"{API}/analyze", content=body, headers={"content-type": "application/json"})
    status, _ = problem(answer)
    assert status in (400, 422)


async def test_a_body_that_is_too_large_is_refused_however_it_is_sent(at: Site) -> None:
    async def drip() -> object:
        for _ in range(40):
            yield b" " * 50_000

    for content in (b" " * 2_000_000, drip()):
        answer = await at.client.post(
            f"{API}/analyze",
            content=content,  # type: ignore[arg-type]
            headers={"content-type": "application/json"},
        )
        assert problem(answer) == (413, "body-too-large")


async def test_only_so_many_faults_are_told(at: Site) -> None:
    slos = [{"metric_name": "nothing"}] * 50
    body = {"instance_id": "one", "instance_type": "vllm", "slo_targets": slos}
    answer = await at.post("/analyze", body)
    assert problem(answer) == (422, "invalid-fields")
    assert len(answer.json()["fields"]) == problems.MOST_FIELDS
