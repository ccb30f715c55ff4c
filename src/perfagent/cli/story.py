"""How demos are told: a caller of the agent's REST API like any other, who says what it sees."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from perfagent.cli.output import err, out
from perfagent.clock import SystemClock
from perfagent.domain.errors import AgentError
from perfagent.ports import Clock

SERVICE = "chat"
IDLE_S = 3.0
"""How long an idle connection is kept: less than the 5 s after which uvicorn closes it."""
ENDED = ("completed", "rolled_back", "rejected", "failed", "held")


def _nobody(_: Sequence[str]) -> str | None:
    """A story in which nobody takes anything upon themselves."""
    return None


@dataclass(frozen=True, slots=True)
class Story:
    """An agent that looks after the service `chat`, and its caller."""

    replicas: int
    clock: Clock
    """The agent's."""
    loop: asyncio.Task[None]
    client: httpx.AsyncClient
    real: SystemClock
    look_s: float
    """Real seconds between two looks at the agent."""
    most_s: float
    """Seconds of the agent's clock after which a rollout that has not ended is a failure of the demo."""

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the agent's API. Raises `httpx.HTTPStatusError` for an answer that is an error."""
        answer = await self.client.request(method, f"/api/v1{path}", json=body)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    async def pass_time(self, seconds: float, what: str) -> None:
        """Let time pass on the agent's clock."""
        start = self.clock.now()
        with _bar() as bar:
            task = bar.add_task(what, total=seconds)
            while self.clock.now() < start + seconds:
                await self.look()
                bar.update(task, completed=self.clock.now() - start)

    async def until(self, workflow: str, told: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until a workflow is as wished. Raises `AgentError` when it takes too long."""
        start = self.clock.now()
        with _bar() as bar:
            task = bar.add_task("…", total=None)
            while not told(seen := await self.ask("GET", f"/workflows/{workflow}")):
                if self.clock.now() - start > self.most_s:
                    raise AgentError(f"the rollout is still {seen['status']}: {seen['reason']}")
                bar.update(task, description=f"{seen['status']}, {seen['fleet_percent']:.0f} % of the replicas")
                await self.look()
        return seen

    async def look(self) -> None:
        """A moment later. Raises what ended the agent's loop, or `AgentError`."""
        if self.loop.done():
            await self.loop
            raise AgentError("the agent's loop ended")
        await self.real.sleep(self.look_s)

    async def tell_findings(self) -> None:
        """What is wrong, and how one knows."""
        found = await self.ask("GET", f"/services/{SERVICE}/findings")
        for finding in found["findings"]:
            say(f"{finding['cause']} ({finding['severity']}): {finding['description']}", style="bold red")
            for seen in finding["evidence"]:
                say(f"   {seen['metric']}, {seen['what']}: {seen['value']:.3g}, held against {seen['limit']:.3g}")

    async def begin_mending(self, monitoring_s: float) -> str:
        """Ask for a rollout of what the agent proposes, tell its plan and approve it; the workflow's id."""
        asked = {"service": SERVICE, "instance_type": "vllm", "requires_approval": True}
        begun = await self.ask("POST", "/workflows", asked | {"monitoring_duration_seconds": monitoring_s})
        workflow: str = begun["workflow_id"]
        seen = await self.until(workflow, lambda seen: seen["status"] != "pending")
        planned = seen["plan"]
        if planned is None:
            raise AgentError(f"the agent found nothing to change: {seen['reason']}")
        say(f"{' '.join(planned['flags'])}   {planned['description']}", style="bold green")
        for effect in planned["effects"]:
            span = f"× {effect['low_ratio']:.2g} … {effect['high_ratio']:.2g}"
            say(f"   {effect['metric_name']}: {span} ({effect['basis']})")
        for risk in planned["risks"]:
            say(f"   risk: {risk}", style="yellow")
        for each in planned["outlook"]:
            minutes = f"{each['minutes_least']:.0f} to {each['minutes_most']:.0f} minutes"
            large = each["detectable"] >= 10
            finds = "watches" if large else f"finds {each['metric_name']} {each['detectable']:.0%} worse"
            held = f"holds a harmless change {each['hold_chance']:.0%} of the time"
            say(f"   {each['stage']} %: {minutes}; {finds}; {held}")
        await self.ask("POST", f"/workflows/{workflow}/approve", {"who": "the demo", "why": "it says what we see"})
        say("Approved by the demo; bound to the plan's hash " + planned["hash"][:12] + ".")
        return workflow

    async def follow(self, workflow: str, on_hold: Callable[[Sequence[str]], str | None] = _nobody) -> dict[str, Any]:
        """Tell each stage when it ends; the workflow at its end.

        A person takes a stage upon themselves that is held, if `on_hold` knows why, given the replicas with the change.
        """
        told = 0
        while True:
            seen = await self.until(workflow, lambda now: _ended_stages(now) > told or now["status"] in ENDED)  # noqa: B023
            for record in seen["rollout_history"][told : _ended_stages(seen)]:
                good = record["verdict"] == "promote"
                share = f"{record['stage']} % ({len(record['targets'])} of {self.replicas})"
                say(f"{share}: {record['verdict'].replace('_', ' ')}", style="bold green" if good else "bold red")
                for reason in record["reasons"]:
                    say(f"   {reason}")
            told = _ended_stages(seen)
            if seen["status"] not in ENDED:
                continue
            held = f": {seen['reason']}" if seen["status"] == "held" else "."
            say(f"{seen['status'].replace('_', ' ')}{held}", style="bold")
            why = on_hold(seen["rollout_history"][-1]["targets"]) if seen["status"] == "held" else None
            if why is None:
                return seen
            say(f"The demo promotes: {why}.", style="yellow")
            await self.ask("POST", f"/workflows/{workflow}/promote", {"who": "the demo", "why": why})


def _ended_stages(seen: dict[str, Any]) -> int:
    return sum(record["verdict"] is not None for record in seen["rollout_history"])


def caller(address: str) -> httpx.AsyncClient:
    """Somebody who calls the agent at this address, as patient as a busy machine wants it."""
    return httpx.AsyncClient(
        base_url=address, trust_env=False, timeout=60.0, limits=httpx.Limits(keepalive_expiry=IDLE_S)
    )


def compare(title: str, before: Mapping[str, float | None], after: Mapping[str, float | None]) -> None:
    """A table of what clients saw."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in ("before", "after", "after / before"):
        table.add_column(column, justify="right")
    for name, was in before.items():
        now = after[name]
        ratio = "–" if not was or now is None else f"{now / was:.3g}"
        table.add_row(name, *("–" if value is None else f"{value:,.1f}" for value in (was, now)), ratio)
    out.print(table)


def ms(seconds: float | None) -> float | None:
    """Milliseconds, where there are any."""
    return None if seconds is None else 1000 * seconds


def chapter(text: str) -> None:
    """A new part of the story."""
    out.print()
    out.rule(Text(text, style="bold"), align="left")


def say(text: str, style: str = "") -> None:
    """One line of it."""
    out.print(Text(text, style=style))


def _bar() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), console=err, transient=True)
