import json
from dataclasses import asdict
from math import inf
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.errors import BadAnswer
from perfagent.domain.metric import Metric
from perfagent.domain.verdict import PairedWindow, StageVerdict, Verdict
from perfagent.workflows.codec import decode, encode
from perfagent.workflows.events import Approved, Event, Judged, Planned
from perfagent.workflows.model import Plan
from support.pages import FIXTURES
from support.rollout_events import any_events, plans


@given(any_events)
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    again = decode(*encode(event))
    assert again == event
    assert type(again) is type(event)
    assert repr(asdict(again)) == repr(asdict(event))


@given(plans)
def test_a_plan_that_was_read_back_has_the_hash_that_was_approved(plan: Plan) -> None:
    again = decode(*encode(Planned(0.0, plan)))
    assert isinstance(again, Planned)
    assert again.plan.hash == plan.hash


def test_figures_that_add_up_to_infinity_are_read_as_they_were_written() -> None:
    window = PairedWindow(0.0, 30.0, Metric.GENERATION_TOKENS, inf, 1.0, inf, 30.0, 1, 1)
    judged = Judged(30.0, StageVerdict(Verdict.HOLD, (), (), (window,)), None)
    assert decode(*encode(judged)) == judged


def test_what_the_first_release_journalled_is_still_read() -> None:
    """One event of each kind; a line is never changed, and a kind that comes later gets its own."""
    written = [json.loads(line) for line in (FIXTURES / "journal.jsonl").read_text().splitlines()]
    assert {type(decode(**line)) for line in written} == set(get_args(Event))


def test_the_kind_is_the_events_name() -> None:
    assert encode(Approved(1.0, "ann", "fine", "abc")) == (
        "approved",
        '{"at_s":1.0,"who":"ann","why":"fine","plan_hash":"abc"}',
    )


def test_an_event_of_an_unknown_kind_is_told() -> None:
    with pytest.raises(BadAnswer, match="does not know: 'teleported'"):
        decode("teleported", "{}")


@pytest.mark.parametrize(
    "body", ["", "{", "[]", '{"at_s": 1.0}', '{"at_s": "x", "who": 1, "why": "", "plan_hash": ""}']
)
def test_a_body_that_cannot_be_read_is_told(body: str) -> None:
    with pytest.raises(BadAnswer, match="approved event that cannot be read"):
        decode("approved", body)


def test_a_request_that_cannot_be_meant_cannot_be_read() -> None:
    body = '{"at_s": 1.0, "request": {"service": "chat", "requested_by": "ann", "monitoring_s": -1}}'
    with pytest.raises(BadAnswer, match="monitored for a number of seconds above 0"):
        decode("requested", body)


@given(st.text(), st.text())
def test_rubbish_is_told_and_nothing_else(kind: str, body: str) -> None:
    with pytest.raises(BadAnswer):
        decode(kind, body)
