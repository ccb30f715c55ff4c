import asyncio

import httpx
import pytest
import respx

from perfagent.cli import demo_clients
from perfagent.cli.demo_clients import Answer, Clients, ended
from perfagent.clock import SystemClock, VirtualClock

URL = "http://127.0.0.1:8101"
STREAMED = 'data: {"choices": []}\n\n' * 3 + "data: [DONE]\n\n"


def clients(*addresses: str) -> Clients:
    return Clients("m", SystemClock(), lambda: addresses)


async def test_what_clients_saw_is_about_the_last_seconds_alone() -> None:
    clock = VirtualClock(1000.0)
    some = Clients("m", clock, lambda: ())
    some.answers += [
        Answer(URL, 900.0, 901.0, 902.0, 50, "served"),
        Answer(URL, 980.0, 981.0, 983.0, 5, "served"),
        Answer(URL, 985.0, 988.0, 988.5, 2, "served"),
        Answer(URL, 990.0, ended="gave up"),
        Answer(URL, 995.0, ended="failed"),
        Answer(URL, 998.0, 999.0, 999.5, 3),
    ]
    seen = some.seen(30.0)
    assert seen.ttft_s == pytest.approx((1.0 + 3.0 + 1.0) / 3)
    assert seen.itl_s == pytest.approx((2.0 + 0.5) / 5)
    assert seen.e2e_s == pytest.approx((3.0 + 3.5) / 2)
    assert seen.tokens_per_s == pytest.approx(10 / 30)
    assert (seen.gave_up_per_min, seen.failed) == (2.0, 1)
    assert some.seen(30.0, [URL]) == seen
    assert some.seen(30.0, ["http://other"]).ttft_s is None


async def test_where_nothing_was_seen_nothing_is_told() -> None:
    seen = clients().seen(30.0)
    assert (seen.ttft_s, seen.itl_s, seen.e2e_s, seen.tokens_per_s) == (None, None, None, 0.0)


@respx.mock
async def test_clients_are_sent_to_replicas_in_rotation_in_turn() -> None:
    routes = [respx.post(f"{url}/v1/completions").respond(200, text=STREAMED) for url in ("http://a", "http://b")]
    some = clients("http://a", "http://b")
    sending = asyncio.create_task(some.send(1000.0))
    while len([each for each in some.answers if each.ended == "served"]) < 6:
        await asyncio.sleep(0)
    await ended(sending)
    assert {answer.tokens for answer in some.answers if answer.ended == "served"} == {3}
    assert abs(routes[0].call_count - routes[1].call_count) <= 1


@respx.mock
async def test_a_refusal_and_a_broken_connection_are_failures_and_no_first_token_in_time_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo_clients, "PATIENCE_S", 0.01)
    some = clients(URL)

    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits so long")

    route = respx.post(f"{URL}/v1/completions")
    for answer in (httpx.Response(503), httpx.Response(200, text="data: [DONE]\n\n")):
        route.mock(return_value=answer)
        await some._ask(URL)
    route.mock(side_effect=httpx.ConnectError)
    await some._ask(URL)
    route.mock(side_effect=never)
    await some._ask(URL)
    assert [answer.ended for answer in some.answers] == ["failed", "failed", "failed", "gave up"]
