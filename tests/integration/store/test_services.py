"""One contract, three ways to keep services."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from perfagent.domain.errors import NotFound, StoreFailed
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.machine import Machine, ModelShape
from perfagent.domain.policy import Policy
from perfagent.domain.service import Service
from perfagent.domain.share import Share
from perfagent.domain.slo import Comparison, Objective, SloMetric, Statistic
from perfagent.domain.snapshot import Target
from perfagent.ports import Services
from perfagent.store.codec import decode_service, encode_service
from perfagent.store.database import Database, open_database
from perfagent.store.memory import MemoryServices
from perfagent.store.services import SqlServices
from perfagent.store.tables import SERVICES

CHAT = Service(
    "chat",
    "vllm",
    (Target("chat-0", "http://10.0.3.11:8000"), Target("chat-1", "http://10.0.3.12:8000")),
    objectives=(Objective(SloMetric.THROUGHPUT, 1000.0, Comparison.GREATER_THAN, Statistic.P95),),
    actuator="emulated",
    policy=Policy((Share(25), Share(100)), "always"),
    launch=LaunchConfig(("--max-num-seqs", "8", "--enable-prefix-caching"), (("VLLM_USE_V1", "1"),)),
    release="0.26.0",
    machine=Machine("h200", 2, ModelShape(8e9, 32, 8, 128, 4096, weight_bytes=1.0)),
)
PLAIN = Service("batch", "tgi", ())


@pytest.fixture
def services(kept_in: Database | None) -> Services:
    return MemoryServices() if kept_in is None else SqlServices(kept_in)


def test_a_service_comes_back_as_it_was_put(services: Services) -> None:
    services.put(CHAT)
    assert services.get("chat") == CHAT


def test_services_are_listed_by_id(services: Services) -> None:
    assert services.list() == []
    services.put(CHAT)
    services.put(PLAIN)
    assert services.list() == [PLAIN, CHAT]


def test_a_service_that_is_put_again_takes_the_place_of_the_first(services: Services) -> None:
    services.put(CHAT)
    services.put(Service("chat", "sglang", ()))
    assert services.list() == [Service("chat", "sglang", ())]


def test_a_deleted_service_is_gone(services: Services) -> None:
    services.put(CHAT)
    services.put(PLAIN)
    services.delete("chat")
    assert services.list() == [PLAIN]
    with pytest.raises(NotFound, match="no service 'chat'"):
        services.get("chat")


def test_what_is_not_there_cannot_be_deleted(services: Services) -> None:
    with pytest.raises(NotFound, match="no service 'chat'"):
        services.delete("chat")


def test_a_service_is_there_after_a_restart(tmp_path: Path) -> None:
    with open_database(tmp_path / "agent.db") as before:
        SqlServices(before).put(CHAT)
    with open_database(tmp_path / "agent.db") as after:
        assert SqlServices(after).get("chat") == CHAT


def test_of_a_service_that_was_kept_before_machines_were_none_is_known() -> None:
    kept = json.loads(encode_service(CHAT))
    del kept["machine"]
    assert decode_service(1, json.dumps(kept)) == replace(CHAT, machine=Machine())


def test_a_policy_that_was_kept_before_there_were_freezes_and_bounds_has_their_defaults() -> None:
    kept = json.loads(encode_service(CHAT))
    kept["policy"] = {"stages": [{"percent": 25}, {"percent": 100}], "approval": "always"}
    assert decode_service(1, json.dumps(kept)) == CHAT


def test_a_service_that_cannot_be_read_is_not_passed_over(database: Database) -> None:
    services = SqlServices(database)
    services.put(CHAT)
    with database.transaction() as connection:
        connection.execute(update(SERVICES).values(body="{"))
    with pytest.raises(StoreFailed, match="unreadable service"):
        services.list()
