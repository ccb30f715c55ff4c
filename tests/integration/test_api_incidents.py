import respx

from support.api import SHORT_OF_CACHE, VLLM, Site, problem, serve

CHAT = {"engine": "vllm", "targets": [VLLM]}


async def seen(at: Site) -> list[tuple[str, str]]:
    incidents = (await at.get("/services/chat/incidents")).json()["incidents"]
    return [(each["finding"]["cause"], each["state"]) for each in incidents]


async def test_a_finding_is_pending_until_it_was_there_for_half_a_window(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, *SHORT_OF_CACHE.pages)
    await at.put("/services/chat", CHAT)
    assert await seen(at) == []
    states = []
    for _ in range(40):
        await at.turn(5.0, every_s=5.0)
        states.append(dict(await seen(at)).get("kv_capacity"))
    assert list(dict.fromkeys(states)) == [None, "pending", "firing"]
    (incident,) = (await at.get("/services/chat/incidents")).json()["incidents"]
    assert incident["since"] < incident["fired_at"] <= incident["last_seen_at"]
    assert incident["resolved_at"] is None


async def test_a_service_that_cannot_be_scraped_keeps_what_it_showed(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, *SHORT_OF_CACHE.pages)
    await at.put("/services/chat", CHAT)
    await at.turn(200.0, every_s=5.0)
    wire.get(f"{VLLM}/metrics").respond(500)
    await at.turn(900.0, every_s=15.0)
    assert await seen(at) == [("kv_capacity", "firing")]
    assert at.agent.watch.diagnosis("chat") is None


async def test_a_service_that_is_gone_is_forgotten(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, *SHORT_OF_CACHE.pages)
    await at.put("/services/chat", CHAT)
    await at.turn(100.0, every_s=5.0)
    assert await seen(at)
    await at.delete("/services/chat")
    assert problem(await at.get("/services/chat/incidents")) == (404, "not-found")
    await at.turn(35.0, every_s=5.0)
    assert at.agent.watch.incidents("chat") == ()
