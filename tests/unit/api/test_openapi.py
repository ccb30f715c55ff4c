"""The OpenAPI document says everything that a caller may see."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from perfagent.api.problems import MEDIA_TYPE
from support.api import API, Site, site

CONTRACT = """
GET /health · GET /health/live · GET /health/ready · GET /health/detailed · GET /config · GET /capabilities
POST /collect/{engine} · POST /analyze · POST /optimize
POST /workflows · GET /workflows · GET /workflows/{workflow_id}
POST /workflows/{workflow_id}/approve · POST /workflows/{workflow_id}/reject · POST /workflows/{workflow_id}/pause
POST /workflows/{workflow_id}/resume · POST /workflows/{workflow_id}/abort · POST /workflows/{workflow_id}/promote
POST /workflows/{workflow_id}/take-over
GET /services · GET /services/{service_id} · PUT /services/{service_id} · DELETE /services/{service_id}
GET /services/{service_id}/findings · GET /services/{service_id}/proposals · GET /services/{service_id}/windows
GET /services/{service_id}/incidents · GET /services/{service_id}/slos
GET /services/{service_id}/drift · POST /services/{service_id}/predict · GET /ledger
GET /events
"""

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    async def told() -> dict[str, Any]:
        async with site() as at:
            answer: dict[str, Any] = (await at.client.get(f"{API}/openapi.json")).json()
            return answer

    return asyncio.run(told())


def operations(document: dict[str, Any]) -> list[Operation]:
    return [(path, verb, what) for path, verbs in document["paths"].items() for verb, what in verbs.items()]


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def test_it_has_exactly_the_calls_of_the_contract(document: dict[str, Any]) -> None:
    promised = {(verb, path) for verb, path in re.findall(r"(GET|POST|PUT|DELETE) (\S+)", CONTRACT)}
    shown = {(verb.upper(), path.removeprefix("/api/v1")) for path, verb, _ in operations(document)}
    assert shown == promised | {("GET", "/metrics")}


def test_everything_but_our_metrics_is_below_one_prefix(document: dict[str, Any]) -> None:
    assert [path for path in document["paths"] if not path.startswith("/api/v1/")] == ["/metrics"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas


def test_every_call_says_what_it_answers_and_which_problems_it_has(document: dict[str, Any]) -> None:
    for path, verb, operation in operations(document):
        where = f"{verb} {path}"
        assert operation["summary"], where
        assert operation.get("description"), where
        answers = operation["responses"]
        for status, answer in answers.items():
            assert answer["description"], where
            if status.startswith("2"):
                assert status == "204" or answer["content"], where
                assert all(media["schema"] for media in answer.get("content", {}).values()), where
            else:
                problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
                assert answer["content"] == {MEDIA_TYPE: problem}, where
        assert "500" in answers, where
        assert "422" in answers, where
        if "{" in path and "collect" not in path:
            assert "404" in answers or verb == "put", where


def test_a_call_with_a_body_says_that_it_may_be_too_large_or_no_json(document: dict[str, Any]) -> None:
    for path, verb, operation in operations(document):
        assert ({"400", "413"} <= set(operation["responses"])) == ("requestBody" in operation), f"{verb} {path}"


def test_every_call_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_every_model_refuses_what_it_does_not_know(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        if schema.get("type") == "object":
            assert schema["additionalProperties"] is False, name
            assert schema["description"], name


async def test_it_is_the_same_each_time(at: Site, document: dict[str, Any]) -> None:
    for _ in range(2):
        assert (await at.client.get(f"{API}/openapi.json")).json() == document
    assert "HTTPValidationError" not in json.dumps(document)
