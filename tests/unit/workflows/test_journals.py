"""What any release has journalled is folded to what it was."""

import json
from pathlib import Path
from typing import get_args

import pytest

from perfagent.workflows.codec import decode
from perfagent.workflows.events import Event
from perfagent.workflows.machine import fold
from support.journals import FOLDER, ending

JOURNALS = sorted(FOLDER.glob("*/*.json"))


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_journal_is_folded_to_the_end_that_it_had(path: Path) -> None:
    told = json.loads(path.read_text())
    rollout = fold("r1", (decode(kind, body) for kind, body in told["events"]))
    assert ending(rollout) == told["ending"]


def test_every_kind_of_event_is_in_some_journal() -> None:
    events = [event for path in JOURNALS for event in json.loads(path.read_text())["events"]]
    assert {type(decode(kind, body)) for kind, body in events} == set(get_args(Event))
