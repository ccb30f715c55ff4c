"""`perfagent demo`: the whole walk on emulated servers, told as it happens.

The demo is a caller like any other: it talks to the agent over its REST API, and the agent to the emulated servers over
HTTP. Only time is not real: the agent's loop drives a virtual clock as fast as the machine allows.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import typer
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from perfagent.app import assembled, running
from perfagent.cli.output import Exit, err, fail, out
from perfagent.clock import SystemClock, VirtualClock
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.emulator.fleet import Fleet
from perfagent.emulator.presets import fleet, preset
from perfagent.emulator.server import serve_fleet
from perfagent.settings import Settings

REPLICAS = 10
SERVICE = "chat"
WATCH_S = 240.0
"""Emulated seconds before the first diagnosis, and before each column of the table."""
MONITORING_S = 180.0
SCRAPE_S = 10.0
LOOK_S = 0.5
"""Real seconds between two looks of the demo at the agent."""
MOST_S = 2 * 3600.0
"""Emulated seconds after which a rollout that has not ended is a failure of the demo."""
HARMFUL = {"max_num_seqs": 4}


def demo(
    port: Annotated[int, typer.Option(help="Port of the API while the demo runs; 0 takes a free one.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same story.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the API and the servers running at the end.")] = False,  # noqa: FBT002
) -> None:
    """Ten emulated vLLM servers with a bad batch limit: found, mended, and a harmful change stopped."""
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
    clock: VirtualClock
    loop: asyncio.Task[None]
    client: httpx.AsyncClient
    real: SystemClock

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the agent's API. Raises `httpx.HTTPStatusError` for an answer that is an error."""
        answer = await self.client.request(method, f"/api/v1{path}", json=body)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    async def pass_time(self, seconds: float, what: str) -> None:
        """Let emulated time pass."""
        start = self.clock.now()
        with _bar() as bar:
            task = bar.add_task(what, total=seconds)
            while self.clock.now() < start + seconds:
                await self._look()
                bar.update(task, completed=self.clock.now() - start)

    async def until(self, workflow: str, told: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until a workflow is as wished. Raises `AgentError` when it takes too long."""
        start = self.clock.now()
        with _bar() as bar:
            task = bar.add_task("…", total=None)
            while not told(seen := await self.ask("GET", f"/workflows/{workflow}")):
                if self.clock.now() - start > MOST_S:
                    raise AgentError(f"the rollout is still {seen['status']}: {seen['reason']}")
                bar.update(task, description=f"{seen['status']}, {seen['fleet_percent']:.0f} % of the replicas")
                await self._look()
        return seen

    async def _look(self) -> None:
        if self.loop.done():
            await self.loop
            raise AgentError("the agent's loop ended")
        await self.real.sleep(LOOK_S)


async def _tell(port: int, seed: int, *, keep: bool) -> None:
    clock, real = VirtualClock(), SystemClock()
    began, start_s = real.monotonic(), clock.now()
    made = fleet(preset("batch-limit"), replicas=REPLICAS, seed=seed, start_s=start_s)
    settings = Settings(scrape_interval_s=SCRAPE_S)
    async with (
        serve_fleet(made, clock) as addresses,
        assembled(settings, store=None, clock=clock) as app,
        running(app, "127.0.0.1", port) as (address, loop),
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=30.0) as client,
    ):
        stage = Stage(made, addresses, clock, loop, client, real)
        _say(f"{REPLICAS} emulated vLLM {made.machine.release} servers are up, {addresses[0]} and so on.")
        _say(f"Their flags: {' '.join(made.replicas[0].launch.flags)}. No real model runs here, and time is virtual.")
        _say(f"The agent's API, while this runs: {address}/api/v1/docs")
        await _mend(stage)
        await _stop_harm(stage)
        _say(f"{(clock.now() - start_s) / 60:.0f} emulated minutes in {real.monotonic() - began:.0f} s.", style="dim")
        if keep:
            _say(f"Still running at {address}/api/v1/docs; interrupt to end.")
            await loop


async def _mend(stage: Stage) -> None:
    _chapter("1  What is wrong?")
    targets = list(stage.addresses)
    await stage.ask("PUT", f"/services/{SERVICE}", {"engine": "vllm", "targets": targets, "actuator": "emulated"})
    await stage.pass_time(WATCH_S, "watching the servers")
    before = _seen(stage)
    found = await stage.ask("GET", f"/services/{SERVICE}/findings")
    for finding in found["findings"]:
        _say(f"{finding['cause']} ({finding['severity']}): {finding['description']}", style="bold red")
        for seen in finding["evidence"]:
            _say(f"   {seen['metric']}, {seen['what']}: {seen['value']:.3g}, held against {seen['limit']:.3g}")

    _chapter("2  What would help?")
    asked = {"service": SERVICE, "instance_type": "vllm", "requires_approval": True}
    begun = await stage.ask("POST", "/workflows", asked | {"monitoring_duration_seconds": MONITORING_S})
    workflow = begun["workflow_id"]
    planned = (await stage.until(workflow, lambda seen: seen["status"] != "pending"))["plan"]
    if planned is None:
        raise AgentError("the agent found nothing to change")
    _say(f"{' '.join(planned['flags'])}   {planned['description']}", style="bold green")
    for effect in planned["effects"]:
        _say(
            f"   {effect['metric_name']}: × {effect['low_ratio']:.2g} … {effect['high_ratio']:.2g} ({effect['basis']})"
        )
    for risk in planned["risks"]:
        _say(f"   risk: {risk}", style="yellow")
    for each in planned["outlook"]:
        minutes = f"{each['minutes_least']:.0f} to {each['minutes_most']:.0f} minutes"
        finds = f"finds {each['metric_name']} {each['detectable']:.0%} worse" if each["detectable"] < 10 else "watches"
        _say(f"   {each['stage']} %: {minutes}; {finds}; holds a harmless change {each['hold_chance']:.0%} of the time")
    await stage.ask("POST", f"/workflows/{workflow}/approve", {"who": "the demo", "why": "it says what we see"})
    _say("Approved by the demo; bound to the plan's hash " + planned["hash"][:12] + ".")

    _chapter("3  The rollout")
    ended = await _follow(stage, workflow)
    if ended["status"] != "completed":
        raise AgentError(f"the rollout ended as {ended['status']}: {ended['reason']}")
    await stage.pass_time(WATCH_S, "watching the servers")
    _compare(before, _seen(stage))


async def _stop_harm(stage: Stage) -> None:
    _chapter("4  A change that harms")
    kept = await _launched(stage)
    _say(f"Somebody asks for {HARMFUL}, to save memory.")
    asked = {"service": SERVICE, "config_changes": HARMFUL, "monitoring_duration_seconds": MONITORING_S}
    begun = await stage.ask("POST", "/workflows", asked)
    ended = await _follow(stage, begun["workflow_id"])
    if ended["status"] != "rolled_back":
        raise AgentError(f"the harmful change ended as {ended['status']}: {ended['reason']}")
    now = await _launched(stage)
    if now != kept:
        raise AgentError(f"the rollback left {now} where {kept} had been")
    _say(f"Every server runs as before: {' '.join(now[0])}", style="green")


async def _follow(stage: Stage, workflow: str) -> dict[str, Any]:
    """Tell each stage when it ends; the workflow at its end."""
    told = 0
    while True:
        seen = await stage.until(workflow, lambda now: _ended_stages(now) > told or _ended(now))  # noqa: B023
        for record in seen["rollout_history"][told : _ended_stages(seen)]:
            good = record["verdict"] == "promote"
            share = f"{record['stage']} % ({len(record['targets'])} of {REPLICAS})"
            _say(f"{share}: {record['verdict'].replace('_', ' ')}", style="bold green" if good else "bold red")
            for reason in record["reasons"]:
                _say(f"   {reason}")
        told = _ended_stages(seen)
        if _ended(seen):
            _say(f"{seen['status'].replace('_', ' ')}.", style="bold")
            return seen


def _ended_stages(seen: dict[str, Any]) -> int:
    return sum(record["verdict"] is not None for record in seen["rollout_history"])


def _ended(seen: dict[str, Any]) -> bool:
    return seen["status"] in ("completed", "rolled_back", "rejected", "failed", "held")


async def _launched(stage: Stage) -> list[list[str]]:
    """The flags of every server, read back from the servers themselves."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return [(await client.get(f"{address}/emulator/launch")).json()["flags"] for address in stage.addresses]


def _seen(stage: Stage) -> dict[str, float | None]:
    """What the emulated clients themselves saw lately: the agent's figures come from `/metrics`, these do not."""
    now = stage.fleet.now_s
    seen = stage.fleet.seen(now - WATCH_S / 2, now)
    return {
        "TTFT, mean (ms)": _ms(seen.ttft_mean_s),
        "ITL, mean (ms)": _ms(seen.itl_mean_s),
        "E2E, mean (ms)": _ms(seen.e2e_mean_s),
        "throughput (tokens/s)": seen.tokens_per_s,
        "clients that gave up (per min)": 60 * seen.gave_up / seen.seconds,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def _compare(before: dict[str, float | None], after: dict[str, float | None]) -> None:
    table = Table(title="What clients saw, whole fleet", title_justify="left")
    table.add_column("")
    for column in ("before", "after", "after / before"):
        table.add_column(column, justify="right")
    for name, was in before.items():
        now = after[name]
        ratio = "–" if not was or now is None else f"{now / was:.3g}"
        table.add_row(name, *("–" if value is None else f"{value:,.1f}" for value in (was, now)), ratio)
    out.print(table)


def _bar() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), console=err, transient=True)


def _chapter(title: str) -> None:
    out.print()
    out.rule(Text(title, style="bold"), align="left")


def _say(text: str, style: str = "") -> None:
    out.print(Text(text, style=style))
