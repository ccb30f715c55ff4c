"""`perfagent demo-vllm`: the walk on real vLLM servers of this machine's processor, in real time.

The agent runs them from a services file, as anybody would. Only the load is the demo's: clients behind a router that
leaves out a replica which is about to be stopped.
"""

import asyncio
import os
import shutil
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import typer
import yaml

from perfagent.actuators.process import Engine, Records, proc
from perfagent.app import PROCESSES, assembled, running
from perfagent.cli.demo_clients import Clients, ended
from perfagent.cli.output import Exit, fail
from perfagent.cli.stop import end
from perfagent.cli.story import SERVICE, Story, caller, chapter, compare, ms, say
from perfagent.clock import SystemClock
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.services_file import INHERITED, read_services
from perfagent.settings import Settings

REPLICAS = 2
SEATS = 2
LONGEST = 1024
"""The models of this demo are small; a KV cache cannot be smaller than the longest request."""
BAD = ["--dtype", "bfloat16", "--enforce-eager", "--max-model-len", str(LONGEST), "--max-num-seqs", str(SEATS)]
BLOCKS = 10
"""Blocks of 128 tokens, as vLLM has on processors: one request of the longest kind fits, and three of the demo's."""
HARMFUL = {"kv_cache_tokens": BLOCKS}
MORE_THAN_SERVED = 1.6
"""The load, as a multiple of what the replicas can serve with the bad limit."""
MEASURED_S = 20.0
SCRAPE_S = 6.0
"""A window of the judge holds three scrapes, and has to hold several of the few requests that these servers answer."""
WATCH_S = 120.0
"""Seconds that each column of the table is about."""
MONITORING_S = 90.0
START_S = 600.0
MOST_S = 1800.0
LOOK_S = 1.0
TTFT = "TTFT, mean (ms)"


def demo_vllm(
    model: Annotated[str, typer.Option(help="A small model: a folder, or a name that vLLM finds.")],
    vllm: Annotated[str, typer.Option(help="The vllm program, built for processors.")] = "vllm",
    data: Annotated[Path | None, typer.Option(help="Folder for records and logs; by default a new one.")] = None,
) -> None:
    """Two real vLLM servers with a bad batch limit: found, mended, and a harmful change rolled back.

    Most of the time they start: how long it takes hangs on the machine, and an hour and a half is the most.
    """
    try:
        asyncio.run(_tell(model, vllm, data or Path(mkdtemp(prefix="perfagent-demo-"))))
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    except AgentError as broken:
        raise fail(str(broken), Exit.UNREACHABLE) from broken


def _services_file(model: str, vllm: str, folder: Path) -> Path:
    """Two replicas, each with a processor core of its own to compute on."""
    program = shutil.which(vllm)
    if program is None:
        raise InvalidInput(f"{vllm} is no program here; say --vllm path/to/vllm")
    cores = sorted(os.sched_getaffinity(0))
    replicas = [
        {"port": port, "env": {"VLLM_CPU_OMP_THREADS_BIND": str(cores[number % len(cores)])}}
        for number, port in enumerate(_free_ports(REPLICAS))
    ]
    name = ["--served-model-name", SERVICE, "--host", "127.0.0.1", "--port", "{port}"]
    offline = {"HF_HUB_OFFLINE": "1"} if Path(model).is_dir() else {}
    process = {
        "command": [str(Path(program).absolute()), "serve", _local(model), *name],
        "flags": BAD,
        "env": {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"} | offline,
        "inherit": [*INHERITED, "HF_HOME", "HF_TOKEN"],
        "replicas": replicas,
        "drain_s": 60,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "services.yaml"
    path.write_text(yaml.safe_dump({"services": {SERVICE: {"engine": "vllm", "gpu": "cpu", "process": process}}}))
    return path


def _local(model: str) -> str:
    """A folder by its full path; anything else is a name."""
    return str(Path(model).absolute()) if Path(model).is_dir() else model


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


async def _tell(model: str, vllm: str, folder: Path) -> None:
    real = SystemClock()
    began_s = real.monotonic()
    path = _services_file(model, vllm, folder)
    described = read_services(path).engines
    records = Records(folder / PROCESSES)

    def rotation() -> Sequence[str]:
        return [engine.target.url for engine in described if _takes_requests(records, engine)]

    clients = Clients(SERVICE, real, rotation)
    settings = Settings(data=folder, services=path, scrape_interval_s=SCRAPE_S, window_s=WATCH_S)
    try:
        async with (
            assembled(settings, store=folder) as app,
            running(app, "127.0.0.1", 0) as (address, loop),
            caller(address) as client,
        ):
            story = Story(REPLICAS, real, loop, client, real, LOOK_S, MOST_S)
            say(f"{REPLICAS} vLLM servers are starting from {path}; the agent is at {address}/api/v1/docs")
            say(f"Their flags: {' '.join(BAD)}")
            await _until_all_serve(story, described, records)
            say(f"Up after {real.monotonic() - began_s:.0f} s.")
            served = await clients.serve_at_once(SEATS, MEASURED_S)
            rate = max(0.1, REPLICAS * served * MORE_THAN_SERVED)
            say(f"One serves {served:.2f} requests/s with {SEATS} at a time; {rate:.2f} requests/s arrive from now on.")
            load = asyncio.create_task(clients.send(rate))
            try:
                await _mend(story, clients)
                await _stop_harm(story, described, records)
            finally:
                await ended(load)
    finally:
        await end(described, records)
    say(f"{real.monotonic() - began_s:.0f} s; records and logs are in {folder}", style="dim")


def _takes_requests(records: Records, engine: Engine) -> bool:
    """What a router asks: it has answered, and nobody is about to stop it."""
    record = records.load(engine.name)
    life = None if record is None else record.life
    return (
        record is not None and life is not None and life.served and not life.stopping and life.launch == record.wanted
    )


async def _until_all_serve(story: Story, described: Sequence[Engine], records: Records) -> None:
    end_s = story.real.monotonic() + START_S
    while not all(_takes_requests(records, engine) for engine in described):
        for engine in described:
            record = records.load(engine.name)
            if record is not None and record.failed_to_start:
                raise AgentError(f"{engine.target.id} {record.failure}")
        if story.real.monotonic() > end_s:
            raise AgentError(f"the servers are not up after {START_S:.0f} s; see {records.folder}")
        await story.look()


async def _mend(story: Story, clients: Clients) -> None:
    chapter("1  What is wrong?")
    await story.pass_time(WATCH_S, "watching the servers")
    before = _seen(clients)
    await story.tell_findings()

    chapter("2  What would help?")
    workflow = await story.begin_mending(MONITORING_S)

    chapter("3  The rollout")
    done = await story.follow(workflow, lambda changed: _better(clients, changed, before[TTFT]))
    if done["status"] != "completed":
        raise AgentError(f"the rollout ended as {done['status']}: {done['reason']}")
    await story.pass_time(WATCH_S, "watching the servers")
    compare("What clients saw", before, _seen(clients))


async def _stop_harm(story: Story, described: Sequence[Engine], records: Records) -> None:
    chapter("4  A change that harms")
    kept = _command_lines(described, records)
    say(f"Somebody asks for {HARMFUL}: a KV cache of {BLOCKS} blocks of 128 tokens, to save memory.")
    asked = {"service": SERVICE, "config_changes": HARMFUL, "monitoring_duration_seconds": MONITORING_S}
    begun = await story.ask("POST", "/workflows", asked)
    workflow = begun["workflow_id"]
    done = await story.follow(workflow)
    if done["status"] == "held":
        say("What cannot be proven is held for a person. The demo has it undone.", style="yellow")
        why = "nobody is served better by it"
        await story.ask("POST", f"/workflows/{workflow}/abort", {"who": "the demo", "why": why})
        done = await story.until(workflow, lambda seen: seen["status"] not in ("held", "rolling_back"))
    if done["status"] != "rolled_back":
        raise AgentError(f"the harmful change ended as {done['status']}: {done['reason']}")
    now = _command_lines(described, records)
    if now != kept:
        raise AgentError(f"the rollback left {now} where {kept} had been")
    say(f"Both servers run as before: {' '.join(now[0][-6:])} and so on", style="green")


def _command_lines(described: Sequence[Engine], records: Records) -> list[tuple[str, ...]]:
    """The flags of every server, as the machine tells them."""
    lives = [(engine, record.life) for engine in described if (record := records.load(engine.name)) is not None]
    return [proc.argv(life.process)[-len(engine.argv(life.launch)) :] for engine, life in lives if life is not None]


def _better(clients: Clients, changed: Sequence[str], before_ms: float | None) -> str | None:
    """Why to go on although the judge holds: first tokens come earlier with the change, as clients see it, than without
    it at the same time, or than before where every replica has it. None where they do not."""
    addresses = [f"http://{each.partition('/')[2]}" for each in changed]
    others = [each for each in clients.rotation() if each not in addresses]
    with_it = ms(clients.seen(MONITORING_S, addresses).ttft_s)
    without = ms(clients.seen(MONITORING_S, others).ttft_s) if others else before_ms
    if with_it is None or without is None or with_it >= without:
        return None
    return f"clients wait {with_it:.0f} ms for first tokens with the change and {without:.0f} ms without it"


def _seen(clients: Clients) -> dict[str, float | None]:
    seen = clients.seen(WATCH_S)
    return {
        TTFT: ms(seen.ttft_s),
        "ITL, mean (ms)": ms(seen.itl_s),
        "E2E, mean (ms)": ms(seen.e2e_s),
        "throughput (tokens/s)": seen.tokens_per_s,
        "clients that gave up (per min)": seen.gave_up_per_min,
        "requests that failed": float(seen.failed),
    }
