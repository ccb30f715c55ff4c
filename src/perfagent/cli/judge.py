"""`perfagent judge`: a verdict recomputed from recordings, or rehearsed on recordings of a quiet fleet."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from perfagent.cli.durations import seconds
from perfagent.cli.output import Exit, Format, emit, fail, out
from perfagent.cli.servers import EngineOption, IntervalOption, engine_named
from perfagent.collectors.recording import read_recording
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.domain.verdict import Criterion, Look, StageRule, StageVerdict, Verdict
from perfagent.domain.window import Window
from perfagent.judge import criteria_for
from perfagent.judge.compare import HARM_ALPHA, PROMOTE_ALPHA
from perfagent.judge.replay import Recorded, exported, judge_recorded, rehearse


def judge(
    baseline: Annotated[
        list[Path] | None, typer.Option(help="A recording of a replica without the change; may be repeated.")
    ] = None,
    canary: Annotated[
        list[Path] | None, typer.Option(help="One of a replica with it. A folder of recordings counts as all of them.")
    ] = None,
    past: Annotated[str, typer.Option(help="How much of the recordings' beginning was before the change.")] = "0s",
    warm_up: Annotated[str, typer.Option(help="How much is left out after the change.")] = "0s",
    windows: Annotated[int, typer.Option(min=1, max=1000, help="Parts that the observation is cut into.")] = 10,
    rule: Annotated[StageRule, typer.Option(help="What has to be shown.")] = StageRule.NOT_INFERIOR,
    looks: Annotated[int, typer.Option(min=1, max=10, help="Looks that were planned; this is the last.")] = 1,
    rehearsal: Annotated[
        str, typer.Option("--rehearse", help="Nothing was changed: take each baseline for a canary, so long each time.")
    ] = "",
    engine: EngineOption = "auto",
    interval: IntervalOption = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TABLE,
) -> None:
    """Judge recorded replicas as a rollout would. All recordings are taken to have begun at the same time."""
    try:
        every_s, name = None if interval is None else seconds(interval), engine_named(engine)
        old, new = (_read(arm or (), name, every_s) for arm in (baseline, canary))
        criteria = criteria_for(None, exported([*old, *new]))
        look = Look(looks, looks)
        if rehearsal:
            emit(_rehearsed(old, criteria, seconds(past), seconds(rehearsal), look), output, _rehearsal_table)
            return
        if not new:
            raise InvalidInput("give at least one --canary, or --rehearse with several --baseline")
        changed_s = min(each.start_s for each in (*old, *new)) + seconds(past)
        end_s = min(each.end_s for each in (*old, *new))
        observed = changed_s + seconds(warm_up), end_s
        seen = Recorded(old, new, (changed_s - seconds(past), changed_s), observed, windows)
        verdict = judge_recorded(seen, criteria, rule, look)
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    except AgentError as unreadable:
        raise fail(str(unreadable), Exit.UNREACHABLE) from unreadable
    emit(as_data(verdict), output, _table)
    raise typer.Exit(Exit.DONE if verdict.verdict is Verdict.PROMOTE else Exit.FINDINGS)


def as_data(verdict: StageVerdict) -> dict[str, Any]:
    """A verdict and everything that it was made from, as JSON-ready data."""
    quiet = verdict.quiet
    return {
        "verdict": verdict.verdict,
        "reasons": list(verdict.reasons),
        "rule": verdict.rule,
        "look": {"number": verdict.look.number, "planned": verdict.look.planned, "stages": verdict.look.stages},
        "alpha": {"promote": PROMOTE_ALPHA, "harm": HARM_ALPHA},
        "judgements": [
            {
                "metric": each.criterion.metric,
                "role": each.criterion.role,
                "margin": each.criterion.margin,
                "result": each.result,
                "ratio": each.ratio,
                "low": each.low,
                "high": each.high,
                "windows": each.windows,
                "reason": each.reason,
            }
            for each in verdict.judgements
        ],
        "noise": {
            "replicas": 0 if quiet is None else quiet.replicas,
            "stretches": 0 if quiet is None else quiet.stretches,
            "metrics": {
                noise.metric: {"permanent_sd": noise.permanent_sd, "mood_sd": noise.mood_sd, "fast_sd": noise.fast_sd}
                for noise in (() if quiet is None else quiet.noises)
            },
        },
        "windows": [
            {
                "metric": each.metric,
                "start_s": each.start_s,
                "end_s": each.end_s,
                "baseline": each.baseline,
                "canary": each.canary,
                "baseline_count": each.baseline_count,
                "canary_count": each.canary_count,
                "before": before,
            }
            for before, arm in ((True, verdict.past), (False, verdict.windows))
            for each in arm
        ],
    }


def _read(folders: Sequence[Path], engine: str | None, interval_s: float | None) -> list[Window]:
    below = [each for folder in folders for each in ([folder] if any(folder.glob("*.prom")) else _inside(folder))]
    return [
        Window(read_recording(each, engine=engine, interval_s=interval_s).snapshots) for each in dict.fromkeys(below)
    ]


def _inside(folder: Path) -> list[Path]:
    """The recordings in a folder; itself where there are none, so that the reader tells what is wrong with it."""
    return sorted(each for each in folder.glob("*") if any(each.glob("*.prom"))) or [folder]


def _rehearsed(
    replicas: Sequence[Window], criteria: Sequence[Criterion], past_s: float, observed_s: float, look: Look
) -> dict[str, Any]:
    found = list(rehearse(replicas, criteria, past_s=past_s, observed_s=observed_s, look=look))
    counted = Counter(each.verdict.verdict for each in found)
    return {
        "rehearsals": len(found),
        "verdicts": {verdict.value: counted[verdict] for verdict in Verdict},
        "rolled_back": [
            {"replica": each.target, "at_s": each.at_s, "reasons": list(each.verdict.reasons)}
            for each in found
            if each.verdict.verdict is Verdict.ROLL_BACK
        ],
    }


def _table(data: dict[str, Any]) -> None:
    out.print(Text(str(data["verdict"]).replace("_", " "), style="bold"))
    for judgement in data["judgements"]:
        out.print(Text(f"   {judgement['reason']}"))
    for reason in data["reasons"]:
        if all(reason != judgement["reason"] for judgement in data["judgements"]):
            out.print(Text(f"   {reason}"))


def _rehearsal_table(data: dict[str, Any]) -> None:
    told = ", ".join(f"{verdict.replace('_', ' ')} {count}" for verdict, count in data["verdicts"].items())
    out.print(Text(f"{data['rehearsals']} rehearsals in which nothing was changed: {told}", style="bold"))
    for each in data["rolled_back"]:
        out.print(Text(f"   {each['replica']} at {each['at_s']:.0f} s: {'; '.join(each['reasons'])}"))
