"""One contract, three ways to keep what was learned."""

import pytest
from sqlalchemy import update

from perfagent.domain.learned import Learned
from perfagent.ports import Knowledge
from perfagent.store.database import Database
from perfagent.store.knowledge import SqlKnowledge
from perfagent.store.memory import MemoryKnowledge
from perfagent.store.tables import STEP_TIMES

ONE = Learned((7.1e-3, 1e-300), ((0.04, -0.01), (-0.01, 0.09)), 1_800_000_000.25, 3)


@pytest.fixture
def knowledge(kept_in: Database | None) -> Knowledge:
    return MemoryKnowledge() if kept_in is None else SqlKnowledge(kept_in)


def test_what_was_learned_comes_back_to_the_last_digit(knowledge: Knowledge) -> None:
    knowledge.put("vllm 0.26.0, 1 x h200", ONE)
    assert knowledge.get("vllm 0.26.0, 1 x h200") == ONE


def test_nothing_is_known_of_other_servers(knowledge: Knowledge) -> None:
    knowledge.put("vllm 0.26.0, 1 x h200", ONE)
    assert knowledge.get("vllm 0.26.0, 1 x h100") is None


def test_what_is_learned_anew_takes_the_place_of_the_old(knowledge: Knowledge) -> None:
    knowledge.put("a", ONE)
    later = Learned((7.0e-3, 1.0), ((0.02, 0.0), (0.0, 0.05)), 1_800_000_300.0, 4)
    knowledge.put("a", later)
    assert knowledge.get("a") == later


@pytest.mark.parametrize("damage", [{"body": "{"}, {"body": '{"constants": "none"}'}, {"codec": 99}])
def test_what_cannot_be_read_is_not_known(database: Database, damage: dict[str, object]) -> None:
    knowledge = SqlKnowledge(database)
    knowledge.put("a", ONE)
    with database.transaction() as connection:
        connection.execute(update(STEP_TIMES).values(**damage))
    assert knowledge.get("a") is None
    knowledge.put("a", ONE)
    assert knowledge.get("a") == ONE
