"""`perfagent probe`: do these servers answer as those do? What a rollout asks of each stage, asked by hand."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from rich.text import Text

from perfagent.cli.output import Exit, Format, emit, fail, out
from perfagent.cli.servers import EngineOption, engine_named
from perfagent.clock import SystemClock
from perfagent.collectors.http import HttpScraper
from perfagent.collectors.prompts import prompts_in
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.domain.quality import AnswerPair, Quality, QualityVerdict
from perfagent.domain.service import replica
from perfagent.domain.snapshot import Target
from perfagent.domain.verdict import Verdict
from perfagent.judge.quality import compare, shipped_prompts
from perfagent.workflows.asking import ask_all, in_pairs, in_turn, twice_in_turn

_VERDICT = TypeAdapter(QualityVerdict)
_BEFORE = TypeAdapter(tuple[AnswerPair, ...])


def probe(
    baseline: Annotated[list[str], typer.Option(help="A server without the change; may be repeated.")],
    canary: Annotated[list[str], typer.Option(help="A server with it; may be repeated.")],
    prompts: Annotated[
        Path | None, typer.Option(help='JSON lines, {"prompt": "…"}; without it the set that ships.')
    ] = None,
    tokens_differ: Annotated[
        float, typer.Option(help="Share of the places at which another token is accepted.")
    ] = Quality().tokens_differ,
    probability_shift: Annotated[
        float, typer.Option(help="How far off probabilities may be (root mean square).")
    ] = Quality().probability_shift,
    engine: EngineOption = "auto",
    api_key: Annotated[
        str | None, typer.Option(envvar="PERFAGENT_API_KEY", help="Bearer token that servers want.")
    ] = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TABLE,
) -> None:
    """Ask servers with and without a change the same prompts, and compare their answers as a rollout would."""
    try:
        asked = shipped_prompts() if prompts is None else prompts_in(prompts)
        quality = Quality(asked, tokens_differ, probability_shift)
        old, new = ([replica("", url) for url in arm] for arm in (baseline, canary))
        before, said = asyncio.run(_asked(old, new, quality, engine_named(engine), api_key))
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    except AgentError as broken:
        raise fail(str(broken), Exit.UNREACHABLE) from broken
    told = _VERDICT.dump_python(said, mode="json") | {"before": _BEFORE.dump_python(before, mode="json")}
    emit(told, output, _table)
    raise typer.Exit(Exit.DONE if said.verdict is Verdict.PROMOTE else Exit.FINDINGS)


async def _asked(
    old: Sequence[Target], new: Sequence[Target], quality: Quality, engine: str | None, api_key: str | None
) -> tuple[tuple[AnswerPair, ...], QualityVerdict]:
    async with HttpScraper(SystemClock(), api_key=api_key) as servers:
        name = engine or (await servers.scrape(old[0], None)).engine
        before = in_pairs(await ask_all(servers, name, twice_in_turn(old, quality.prompts)))
        answers = await ask_all(servers, name, in_turn(new, quality.prompts))
    return before, compare(before, answers, quality)


def _table(told: dict[str, Any]) -> None:
    good = told["verdict"] == Verdict.PROMOTE
    out.print(Text(told["verdict"], style="bold green" if good else "bold yellow"))
    out.print(Text(told["reason"]), soft_wrap=True)
