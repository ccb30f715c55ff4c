import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from perfagent.telemetry.logs import MASK, set_up_logs


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def written(*, json: bool = True, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    set_up_logs(json=json, level=level, stream=stream)
    return stream


def test_a_line_for_machines_is_one_json_object() -> None:
    stream = written()
    logging.getLogger("perfagent.x").warning("rollout %s: %s", "r1", "held", extra={"service": "chat"})
    told = json.loads(stream.getvalue())
    assert told["event"] == "rollout r1: held"
    assert (told["level"], told["logger"], told["service"]) == ("warning", "perfagent.x", "chat")
    assert told["timestamp"].endswith("Z")


def test_a_line_for_people_is_plain_text() -> None:
    stream = written(json=False)
    logging.getLogger("perfagent").info("hello")
    assert "hello" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_an_exception_comes_with_its_traceback() -> None:
    stream = written()
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("perfagent").exception("failed")
    assert "ValueError: boom" in json.loads(stream.getvalue())["exception"]


def test_what_is_less_severe_is_not_written() -> None:
    stream = written(level="error")
    logging.getLogger("perfagent").warning("nothing")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("json", [True, False])
def test_secrets_are_never_written(json: bool) -> None:
    stream = written(json=json)
    logging.getLogger("perfagent").info(
        "asked http://ann:s3cret@host with Authorization: Bearer s3cret.abc",
        extra={"api_key": "s3cret", "password": "s3cret", "prompt_tokens": 17},
    )
    try:
        raise ValueError("https://ann:s3cret@host")
    except ValueError:
        logging.getLogger("perfagent").exception("failed")
    assert "s3cret" not in stream.getvalue()
    assert MASK in stream.getvalue()
    assert "17" in stream.getvalue()
