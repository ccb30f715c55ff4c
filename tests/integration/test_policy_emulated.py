"""A policy over REST, on emulated servers that restart over HTTP: freeze, somebody's edit, and the way back."""

from typing import Any

import httpx

from perfagent.app import assembled
from perfagent.clock import VirtualClock
from perfagent.emulator import Timing, serve_fleet
from perfagent.settings import Settings
from support.fleets import START_S, burst, fleet

QUICK = Timing(startup_s=10, compile_s=0, exit_s=3, drain_s=5)
BEFORE = ["--max-num-seqs=8"]
BOB = {"who": "bob", "why": "chat-1 is on trial"}


async def test_a_freeze_is_waited_for_and_somebodys_edit_is_left_by_the_way_back() -> None:
    clock = VirtualClock(START_S)
    of = fleet(*BEFORE, replicas=2, timing=QUICK, workload=burst(0.5, until_s=1e9))
    settings = Settings(scrape_interval_s=5.0)
    async with (
        serve_fleet(of, clock) as addresses,
        assembled(settings, store=None, clock=clock) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app.api), base_url="http://agent/api/v1") as client,
        httpx.AsyncClient() as somebody,
    ):

        async def ask(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
            answer = await client.request(method, path, json=body)
            assert answer.is_success, answer.text
            told: dict[str, Any] = answer.json()
            return told

        async def until(status: str) -> dict[str, Any]:
            for _ in range(100):
                if (seen := await ask("GET", f"/workflows/{workflow}"))["status"] == status:
                    return seen
                await clock.sleep(5.0)
                await app.agent.tick()
            raise AssertionError(f"still {seen['status']}: {seen['reason']}")

        async def launched() -> list[list[str]]:
            return [(await somebody.get(f"{each}/emulator/launch")).json()["flags"] for each in addresses]

        service = {"engine": "vllm", "targets": list(addresses), "actuator": "emulated"}
        await ask("PUT", "/services/chat", {**service, "policy": {"freeze": [{"why": "until told otherwise"}]}})
        await app.agent.tick()
        asked = {
            "service": "chat",
            "config_changes": {"max_num_seqs": 16},
            "monitoring_duration_seconds": 30,
            "auto_rollout": False,
        }
        workflow = (await ask("POST", "/workflows", asked))["workflow_id"]
        assert (await until("held"))["waiting_for"] == "freeze"
        assert await launched() == [BEFORE, BEFORE]

        await ask("PUT", "/services/chat", {**service, "policy": {"stages": [50, 100]}})
        again = await until("monitoring")
        assert [stage["stage"] for stage in again["plan"]["stages"]] == [50, 100]
        changed = await launched()
        assert sorted(changed) == [["--max-num-seqs=16"], BEFORE]

        canary = addresses[changed.index(["--max-num-seqs=16"])]
        mine = {"flags": ["--max-num-seqs=12"], "env": {}}
        (await somebody.put(f"{canary}/emulator/launch", json=mine)).raise_for_status()
        held = await until("held")
        assert [edit["differs"] for edit in held["drift"]] == ["max_num_seqs is 12, not 16; differing: --max-num-seqs"]
        await ask("POST", f"/workflows/{workflow}/abort", BOB)
        ended = await until("rolled_back")
        assert ended["drift"][0]["differs"].startswith("max_num_seqs is 12, not 8")
        assert sorted(await launched()) == [["--max-num-seqs=12"], BEFORE]
