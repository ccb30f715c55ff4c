"""An emulated fleet over real HTTP: pages, completions, restarts, cut-off clients."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from perfagent import engines
from perfagent.clock import SystemClock, VirtualClock
from perfagent.collectors.exposition import scan
from perfagent.domain.errors import InvalidInput
from perfagent.domain.metric import Metric
from perfagent.emulator import Crash, Fleet, LostScrapes, Timing, serve_fleet
from perfagent.emulator.server import TICK_S
from support.fleets import RELEASES, START_S, burst, fleet, machine, process

QUICK = Timing(startup_s=10, compile_s=5, exit_s=3, drain_s=5)


@asynccontextmanager
async def passing(clock: VirtualClock, step_s: float = 0.02) -> AsyncIterator[None]:
    """Lets virtual time pass in small steps beside the test."""

    async def drive() -> None:
        while True:
            await clock.sleep(step_s)
            await asyncio.sleep(0.001)

    driver = asyncio.create_task(drive())
    try:
        yield
    finally:
        driver.cancel()
        with suppress(asyncio.CancelledError):
            await driver


@asynccontextmanager
async def served(of: Fleet, clock: VirtualClock) -> AsyncIterator[tuple[httpx.AsyncClient, tuple[str, ...]]]:
    async with serve_fleet(of, clock) as addresses, httpx.AsyncClient(timeout=20) as client:
        yield client, addresses


async def soon(happened: Callable[[], bool]) -> bool:
    """Whether it happens within two seconds."""
    for _ in range(200):
        if happened():
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.parametrize(("engine", "release"), RELEASES)
async def test_a_page_over_http_is_the_replicas_page_at_the_clocks_now(engine: str, release: str) -> None:
    clock = VirtualClock(START_S)
    of = fleet(of=machine(engine, release), replicas=2, workload=burst(4.0, until_s=60.0))
    async with served(of, clock) as (client, addresses):
        await clock.sleep(30)
        answer = await client.get(f"{addresses[1]}/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.headers["x-emulated-by"] == "perfagent"
        assert of.now_s == START_S + 30
        assert answer.text == of.scrape(1)
        samples = scan(answer.content)
        assert engines.recognise(sample.name for sample in samples) == engine
        read = engines.read(engine, samples, target="r1", at_s=of.now_s)
        assert sum(read.scalars[Metric.FINISHED].values()) > 20


@pytest.mark.parametrize(("engine", "release"), RELEASES)
async def test_configuration_endpoints_tell_what_the_engine_tells(engine: str, release: str) -> None:
    of = fleet(of=machine(engine, release))
    async with served(of, VirtualClock(START_S)) as (client, addresses):
        answers = {}
        for path in engines.endpoints(engine):
            answer = await client.get(addresses[0] + path)
            if answer.status_code == 200:
                answers[path] = answer.json()
        config = engines.effective(engine, of.replicas[0].launch, {}, answers)
        assert config.release == release
        assert (await client.get(f"{addresses[0]}/health")).status_code == 200
        assert (await client.get(f"{addresses[0]}/nowhere")).status_code == 404


async def test_sglang_without_its_flag_has_no_metrics() -> None:
    of = Fleet(machine("sglang", "0.5.23"), launch=type(fleet().replicas[0].launch)())
    async with served(of, VirtualClock()) as (client, addresses):
        assert (await client.get(f"{addresses[0]}/metrics")).status_code == 404


async def test_a_streamed_completion_is_one_event_per_token() -> None:
    clock = VirtualClock(START_S)
    of = fleet()
    async with served(of, clock) as (client, addresses), passing(clock):
        body = {"prompt": "How are you today?", "max_tokens": 30, "stream": True}
        async with client.stream("POST", f"{addresses[0]}/v1/completions", json=body) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = [line.removeprefix("data: ") async for line in answer.aiter_lines() if line]
    *chunks, end = lines
    assert end == "[DONE]"
    told = [json.loads(chunk) for chunk in chunks]
    assert len(told) == 30
    assert all(chunk["model"].startswith("emulated/") for chunk in told)
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in told]
    assert reasons == [None] * 29 + ["length"]
    assert process(of).meters.generated == 30


async def test_a_client_that_reads_slowly_still_gets_every_token() -> None:
    clock = VirtualClock(START_S)
    of = fleet()
    async with served(of, clock) as (client, addresses):
        body = {"prompt": "a", "max_tokens": 40_000, "stream": True}
        async with client.stream("POST", f"{addresses[0]}/v1/completions", json=body) as answer:
            for _ in range(10):  # more than the buffers on the way hold
                await clock.sleep(40)
                await client.get(f"{addresses[0]}/health")
                await asyncio.sleep(0.05)
            text = (await answer.aread()).decode()
    assert text.count("data: {") == 40_000
    assert text.endswith("data: [DONE]\n\n")


async def test_a_whole_completion_comes_when_the_twin_is_done() -> None:
    clock = VirtualClock(START_S)
    of = fleet()
    async with served(of, clock) as (client, addresses), passing(clock):
        body = {"prompt": [1] * 100, "max_tokens": 50}
        answer = (await client.post(f"{addresses[0]}/v1/completions", json=body)).json()
    assert answer["usage"] == {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    spoken = answer["choices"][0]["text"].split()
    assert (len(spoken), spoken[0]) == (50, "emulated")
    assert clock.now() > START_S + 0.3


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_away_frees_its_place(*, stream: bool) -> None:
    clock = VirtualClock(START_S)
    of = fleet()
    async with served(of, clock) as (client, addresses), passing(clock):
        body = {"prompt": "a", "max_tokens": 100_000, "stream": stream}
        caller = asyncio.create_task(client.post(f"{addresses[0]}/v1/completions", json=body))
        assert await soon(lambda: process(of).running == 1)
        caller.cancel()
        with suppress(asyncio.CancelledError):
            await caller
        assert await soon(lambda: process(of).running == 0)
        assert process(of).meters.open == set()


async def test_a_crash_cuts_completions_off() -> None:
    clock = VirtualClock(START_S)
    of = fleet(faults=[Crash(0, at_s=1.0)])
    async with served(of, clock) as (client, addresses), passing(clock):
        body = {"prompt": "a", "max_tokens": 10_000}
        url = f"{addresses[0]}/v1/completions"
        whole, streamed = await asyncio.gather(
            client.post(url, json=body), client.post(url, json={**body, "stream": True})
        )
    assert whole.status_code == 500
    assert "[DONE]" not in streamed.text
    assert 10 < streamed.text.count("data: ") < 1000


async def test_when_serving_ends_whoever_still_waits_is_cut_off_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = VirtualClock(START_S)
    of = fleet()
    body = {"prompt": "a", "max_tokens": 10_000}
    async with httpx.AsyncClient() as client:
        async with asyncio.timeout(1.5), serve_fleet(of, clock) as addresses:
            url = f"{addresses[0]}/v1/completions"
            callers = [
                asyncio.create_task(client.post(url, json=body)),
                asyncio.create_task(client.post(url, json={**body, "stream": True})),
            ]
            assert await soon(lambda: len(process(of).meters.open) == 2)
        whole, streamed = await asyncio.gather(*callers)
    assert whole.status_code == 500
    assert "[DONE]" not in streamed.text
    assert process(of).meters.open == set()
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


async def test_nonsense_is_answered_as_such() -> None:
    of = fleet("--max-model-len=8192")
    async with served(of, VirtualClock(START_S)) as (client, addresses):
        url = f"{addresses[0]}/v1/completions"
        for content in (b"{", b"[]", b'{"prompt": ""}', b'{"prompt": "a", "stream": 1}', b"[" * 100_000):
            assert (await client.post(url, content=content)).status_code == 400
        too_long = await client.post(url, json={"prompt": "a", "max_tokens": 10**18})
        assert too_long.status_code == 400
        assert "8192 tokens" in too_long.json()["error"]["message"]
        huge = await client.post(url, content=b" " * (5 * 2**20))
        assert huge.status_code == 400


async def test_a_replica_that_is_not_up_answers_503_but_tells_how_it_is() -> None:
    clock = VirtualClock(START_S)
    of = fleet(workload=burst(4.0, until_s=100.0), timing=QUICK)
    async with served(of, clock) as (client, addresses):
        url = addresses[0]
        await clock.sleep(20)
        status = (await client.get(f"{url}/emulator/status")).json()
        assert (status["emulated"], status["state"], status["restarts"]) == (True, "serving", 0)
        assert status["clients_last_minute"]["finished"] > 20
        answer = await client.put(f"{url}/emulator/launch", json={"flags": ["--max-num-seqs=64"], "env": {}})
        assert answer.status_code == 202
        await clock.sleep(8)
        for path in ("/health", "/metrics", "/version"):
            assert (await client.get(url + path)).status_code == 503
        assert (await client.post(f"{url}/v1/completions", json={"prompt": "a"})).status_code == 503
        status = (await client.get(f"{url}/emulator/status")).json()
        assert (status["state"], status["running"]) == ("starting", None)
        assert (await client.get(f"{url}/emulator/launch")).json() == {"flags": ["--max-num-seqs=64"], "env": {}}
        await clock.sleep(12)
        assert (await client.get(f"{url}/health")).status_code == 200


async def test_a_lost_scrape_is_no_page() -> None:
    of = fleet(faults=[LostScrapes(0)])
    async with served(of, VirtualClock(START_S)) as (client, addresses):
        assert (await client.get(f"{addresses[0]}/metrics")).status_code == 503
        assert (await client.get(f"{addresses[0]}/health")).status_code == 200


async def test_a_launch_that_is_none_is_refused_and_changes_nothing() -> None:
    of = fleet()
    async with served(of, VirtualClock(START_S)) as (client, addresses):
        half = b'"\\ud800"'  # of a character: JSON can say it, nothing can send it on
        surrogates = (b'{"flags": [' + half + b"]}", b'{"env": {' + half + b': ""}}', b'{"env": {"A": ' + half + b"}}")
        for content in (b"[]", b'{"flags": "--x"}', b'{"arguments": []}', b"flags", *surrogates):
            assert (await client.put(f"{addresses[0]}/emulator/launch", content=content)).status_code == 400
        assert of.replicas[0].restarts == 0


async def test_by_a_real_clock_a_fleet_goes_on_by_itself_at_its_speed() -> None:
    of = fleet(workload=burst(4.0, until_s=1000.0))
    async with serve_fleet(of, SystemClock(), speed=20, keep_going=True) as addresses:
        assert len(addresses) == 1
        await asyncio.sleep(3 * TICK_S)
        assert 20 * 2 * TICK_S * 0.9 <= of.now_s - START_S <= 20 * 10 * TICK_S


async def test_ports_count_up_from_the_first_and_one_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"127.0.0.1:{port} cannot be listened on"):
            async with serve_fleet(fleet(), VirtualClock(), base_port=port):
                pass
    async with serve_fleet(fleet(replicas=2), VirtualClock(), base_port=port) as addresses:
        assert addresses == (f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}")


async def test_a_port_that_does_not_exist_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"127\.0\.0\.1:6553[56] cannot be listened on"):
        async with serve_fleet(fleet(replicas=2), VirtualClock(), base_port=65_535):
            pass


async def test_a_hundred_replicas_come_and_go_in_no_time() -> None:
    async with asyncio.timeout(8), served(fleet(replicas=100), VirtualClock()) as (client, addresses):
        assert len(set(addresses)) == 100
        for number in (0, 57, 99):
            status = (await client.get(f"{addresses[number]}/emulator/status")).json()
            assert status["name"] == f"emulated-{number}"
