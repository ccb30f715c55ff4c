"""Two agents on one store: what the one without the lease does, tells and takes down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import respx

from perfagent.clock import VirtualClock
from perfagent.domain.knob import Knob
from perfagent.workflows.model import Phase
from support.api import SHORT_OF_CACHE, VLLM, Records, Site, page, problem, serve, site

CHAT = {"engine": "vllm", "targets": [VLLM], "flags": ["--max-num-seqs", "8"]}
ASKED = {"service": "chat", "config_changes": {"max_num_seqs": 64}, "requires_approval": True}
BOB = {"who": "bob", "why": "looks right"}


@dataclass
class Pair:
    acting: Site
    standing_by: Site
    records: Records

    async def turn(self, seconds: float, *, every_s: float = 10.0) -> None:
        """Let both turn while time passes."""
        for _ in range(round(seconds / every_s)):
            await self.acting.turn(every_s, every_s=every_s)
            await self.standing_by.agent.tick()


@pytest.fixture
async def pair(wire: respx.MockRouter) -> AsyncIterator[Pair]:
    serve(wire, VLLM, page("vllm/0.26.0-short-of-seats"))
    clock, records = VirtualClock(), Records()
    async with AsyncExitStack() as stack:
        acting, standing_by = [
            await stack.enter_async_context(site(clock=clock, records=records, name=name)) for name in ("one", "other")
        ]
        assert (await acting.put("/services/chat", CHAT)).is_success
        yield Pair(acting, standing_by, records)


def scrapes(at: Site) -> float:
    return at.telemetry.registry.get_sample_value("perfagent_scrapes_total", {"engine": "vllm", "result": "ok"}) or 0.0


async def test_only_the_one_that_acts_scrapes_and_both_tell_what_was_seen(pair: Pair) -> None:
    await pair.turn(120)
    assert scrapes(pair.acting) > 10
    assert scrapes(pair.standing_by) == 0
    told = [(await at.get("/services/chat/findings")).json() for at in (pair.acting, pair.standing_by)]
    assert told[0] == told[1]
    assert told[0]["findings"]


async def test_each_says_who_acts(pair: Pair) -> None:
    await pair.turn(10)
    told = [(await at.get("/health/detailed")).json()["lease"] for at in (pair.acting, pair.standing_by)]
    assert told == [{"role": "acting", "holder": "one"}, {"role": "standing_by", "holder": "one"}]
    figures = [at.telemetry.registry.get_sample_value("perfagent_acting") for at in (pair.acting, pair.standing_by)]
    assert figures == [1.0, 0.0]
    assert (await pair.standing_by.get("/health/ready")).is_success
    assert pair.standing_by.agent.degradations() == ()


async def test_what_is_said_to_the_one_that_stands_by_is_done_by_the_other(pair: Pair) -> None:
    await pair.turn(60)
    begun = (await pair.standing_by.post("/workflows", ASKED)).json()
    path = f"/workflows/{begun['workflow_id']}"
    assert (await pair.acting.get(path)).json()["status"] == "pending"
    await pair.standing_by.agent.tick()
    assert (await pair.standing_by.get(path)).json()["status"] == "pending"
    await pair.acting.agent.tick()
    assert (await pair.standing_by.get(path)).json()["status"] == "awaiting_approval"
    assert (await pair.standing_by.post(f"{path}/approve", BOB)).json()["status"] == "held"  # it has no actuator
    told = [(await at.get(path)).json() for at in (pair.acting, pair.standing_by)]
    assert told[0] == told[1]
    assert told[0]["approval"]["who"] == "bob"
    assert problem(await pair.acting.post("/workflows", ASKED)) == (409, "conflict")


async def test_listeners_of_either_hear_everything_once(pair: Pair) -> None:
    await pair.turn(60)
    with pair.acting.journal.subscribe() as one, pair.standing_by.journal.subscribe() as other:
        begun = (await pair.standing_by.post("/workflows", ASKED)).json()
        await pair.turn(20)
        await pair.acting.post(f"/workflows/{begun['workflow_id']}/approve", BOB)
        await pair.turn(20)
        heard = [[(event.seq, event.kind) for event in (await each.next() or (0, ()))[1]] for each in (one, other)]
    assert heard[0] == heard[1]
    assert [kind for _, kind in heard[0]] == ["requested", "planned", "approved"]


async def test_the_one_that_stands_by_takes_over_when_the_other_has_let_go(pair: Pair) -> None:
    await pair.turn(60)
    rollout = (await pair.acting.post("/workflows", ASKED)).json()["workflow_id"]
    pair.acting.agent.lead.release()
    await pair.standing_by.turn(20)
    assert pair.standing_by.agent.manager.get(rollout).phase is Phase.AWAITING_APPROVAL
    assert scrapes(pair.standing_by) > 0
    assert (await pair.standing_by.get("/health/detailed")).json()["lease"] == {"role": "acting", "holder": "other"}


async def test_an_agent_that_ends_lets_the_other_act_at_its_next_turn(pair: Pair) -> None:
    stop = asyncio.Event()
    stop.set()
    await pair.acting.agent.run(stop)
    assert pair.acting.agent.lead.token is None
    await pair.standing_by.agent.tick()
    assert pair.standing_by.agent.lead.token == 2


async def test_what_one_is_told_of_a_service_the_other_goes_by_at_its_next_look(pair: Pair) -> None:
    await pair.turn(60)
    assert (await pair.standing_by.put("/services/chat", CHAT | {"flags": ["--max-num-seqs", "16"]})).is_success
    await pair.turn(40)
    told = [at.agent.view("chat").config.number(Knob.MAX_NUM_SEQS) for at in (pair.acting, pair.standing_by)]
    assert told == [16, 16]


async def test_an_agent_that_acts_no_longer_tells_no_troubles_of_its_last_scrapes(
    pair: Pair, wire: respx.MockRouter
) -> None:
    await pair.turn(60)
    wire.get(f"{VLLM}/metrics").respond(500)
    await pair.turn(20)
    age = ("perfagent_scrape_age_seconds", {"service": "chat", "target": "chat/vllm:8000"})
    assert any("not scraped" in reason for reason in pair.acting.agent.degradations())
    assert pair.acting.telemetry.registry.get_sample_value(*age) is not None
    pair.acting.agent.lead.release()
    await pair.standing_by.agent.tick()
    await pair.acting.agent.tick()
    assert pair.acting.agent.degradations() == ()
    assert pair.acting.telemetry.registry.get_sample_value(*age) is None


async def test_a_window_is_learned_from_once_however_many_look_at_it(wire: respx.MockRouter) -> None:
    serve(wire, VLLM, *SHORT_OF_CACHE.pages)
    clock, records = VirtualClock(), Records()
    async with (
        site(clock=clock, records=records, name="one") as acting,
        site(clock=clock, records=records, name="other") as standing_by,
    ):
        await SHORT_OF_CACHE.play(acting, "chat", VLLM, flags=SHORT_OF_CACHE.meta["flags"])
        await acting.agent.tick()
        await standing_by.agent.tick()
        assert standing_by.agent.watch.diagnosis("chat") == acting.agent.watch.diagnosis("chat")
    assert [learned.windows for learned in records.knowledge._known.values()] == [1]
