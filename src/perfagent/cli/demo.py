"""`perfagent demo`: the whole walk on emulated servers, told as it happens.

The demo is a caller like any other: it talks to the agent over its REST API, and the agent to the emulated servers over
HTTP. Only time is not real: the agent's loop drives a virtual clock as fast as the machine allows.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import typer

from perfagent.app import assembled, running
from perfagent.cli.output import Exit, fail
from perfagent.cli.story import SERVICE, Story, caller, chapter, compare, ms, say
from perfagent.clock import SystemClock, VirtualClock
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.emulator.faults import BadAnswers
from perfagent.emulator.fleet import Fleet
from perfagent.emulator.presets import fleet, preset
from perfagent.emulator.server import serve_fleet
from perfagent.settings import Settings

REPLICAS = 10
WATCH_S = 240.0
"""Emulated seconds before the first diagnosis, and before each column of the table."""
MONITORING_S = 180.0
SCRAPE_S = 10.0
LOOK_S = 0.5
"""Real seconds between two looks of the demo at the agent."""
MOST_S = 2 * 3600.0
"""Emulated seconds after which a rollout that has not ended is a failure of the demo."""
HARMFUL = {"max_num_seqs": 4}
SPOILING = {"kv_cache_dtype": "fp8"}
"""The emulated servers have a fault by which fewer bits spoil their answers."""


def demo(
    port: Annotated[int, typer.Option(help="Port of the API while the demo runs; 0 takes a free one.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the emulated servers and their load.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the API and the servers running at the end.")] = False,  # noqa: FBT002
) -> None:
    """Ten emulated vLLM servers with a bad batch limit: it is mended, what harms is stopped, what is in doubt held."""
    try:
        asyncio.run(_tell(port, seed, keep=keep))
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    except AgentError as broken:
        raise fail(str(broken), Exit.UNREACHABLE) from broken


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the story takes place."""

    fleet: Fleet
    addresses: tuple[str, ...]
    story: Story


async def _tell(port: int, seed: int, *, keep: bool) -> None:
    clock, real = VirtualClock(), SystemClock()
    began, start_s = real.monotonic(), clock.now()
    faults = [BadAnswers(replica) for replica in range(REPLICAS)]
    made = fleet(preset("batch-limit"), replicas=REPLICAS, seed=seed, faults=faults, start_s=start_s)
    settings = Settings(scrape_interval_s=SCRAPE_S)
    async with (
        serve_fleet(made, clock) as addresses,
        assembled(settings, store=None, clock=clock) as app,
        running(app, "127.0.0.1", port) as (address, loop),
        caller(address) as client,
    ):
        stage = Stage(made, addresses, Story(REPLICAS, clock, loop, client, real, LOOK_S, MOST_S))
        say(f"{REPLICAS} emulated vLLM {made.machine.release} servers are up, {addresses[0]} and so on.")
        say(f"Their flags: {' '.join(made.replicas[0].launch.flags)}. No real model runs here, and time is virtual.")
        say(f"The agent's API, while this runs: {address}/api/v1/docs")
        await _mend(stage)
        await _stop_harm(stage)
        await _hold_doubt(stage)
        say(f"{(clock.now() - start_s) / 60:.0f} emulated minutes in {real.monotonic() - began:.0f} s.", style="dim")
        if keep:
            say(f"Still running at {address}/api/v1/docs; interrupt to end.")
            await loop


async def _mend(stage: Stage) -> None:
    story = stage.story
    chapter("1  What is wrong?")
    targets = list(stage.addresses)
    await story.ask("PUT", f"/services/{SERVICE}", {"engine": "vllm", "targets": targets, "actuator": "emulated"})
    await story.pass_time(WATCH_S, "watching the servers")
    before = _seen(stage)
    await story.tell_findings()

    chapter("2  What would help?")
    workflow = await story.begin_mending(MONITORING_S)

    chapter("3  The rollout")
    _must_be("completed", await story.follow(workflow))
    await story.pass_time(WATCH_S, "watching the servers")
    compare("What clients saw, whole fleet", before, _seen(stage))


async def _stop_harm(stage: Stage) -> None:
    story = stage.story
    chapter("4  A change that harms")
    kept = await _launched(stage)
    say(f"Somebody asks for {HARMFUL}, to save memory.")
    asked = {"service": SERVICE, "config_changes": HARMFUL, "monitoring_duration_seconds": MONITORING_S}
    begun = await story.ask("POST", "/workflows", asked)
    _must_be("rolled_back", await story.follow(begun["workflow_id"]))
    await _must_run_as_before(stage, kept)


async def _hold_doubt(stage: Stage) -> None:
    story = stage.story
    chapter("5  A change that is held")
    kept = await _launched(stage)
    say(f"Somebody asks for {SPOILING}, for more room. On these emulated servers it spoils the answers.")
    asked = {"service": SERVICE, "config_changes": SPOILING, "monitoring_duration_seconds": MONITORING_S}
    workflow = (await story.ask("POST", "/workflows", asked))["workflow_id"]
    planned = await story.until(workflow, lambda seen: seen["status"] != "pending")
    _must_be("awaiting_approval", planned)
    say(planned["reason"])
    await story.ask("POST", f"/workflows/{workflow}/approve", {"who": "the demo", "why": "to see what it does"})
    _must_be("held", await story.follow(workflow))
    await story.ask("POST", f"/workflows/{workflow}/abort", {"who": "the demo", "why": "these answers are no good"})
    _must_be("rolled_back", await story.follow(workflow))
    await _must_run_as_before(stage, kept)


def _must_be(status: str, seen: dict[str, Any]) -> None:
    if seen["status"] != status:
        raise AgentError(f"the rollout is {seen['status']} and not {status}: {seen['reason']}")


async def _must_run_as_before(stage: Stage, kept: list[list[str]]) -> None:
    now = await _launched(stage)
    if now != kept:
        raise AgentError(f"the rollback left {now} where {kept} had been")
    say(f"Every server runs as before: {' '.join(now[0])}", style="green")


async def _launched(stage: Stage) -> list[list[str]]:
    """The flags of every server, read back from the servers themselves."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return [(await client.get(f"{address}/emulator/launch")).json()["flags"] for address in stage.addresses]


def _seen(stage: Stage) -> dict[str, float | None]:
    """What the emulated clients themselves saw lately: the agent's figures come from `/metrics`, these do not."""
    now = stage.fleet.now_s
    seen = stage.fleet.seen(now - WATCH_S / 2, now)
    return {
        "TTFT, mean (ms)": ms(seen.ttft_mean_s),
        "ITL, mean (ms)": ms(seen.itl_mean_s),
        "E2E, mean (ms)": ms(seen.e2e_mean_s),
        "throughput (tokens/s)": seen.tokens_per_s,
        "clients that gave up (per min)": 60 * seen.gave_up / seen.seconds,
    }
