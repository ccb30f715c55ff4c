"""`perfagent predict`: what would a change do to this server, its traffic being what it is?"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from perfagent import engines
from perfagent.cli.durations import seconds
from perfagent.cli.output import Exit, Format, emit, fail, out, short, working
from perfagent.cli.servers import (
    EngineOption,
    FlagsOption,
    GpuOption,
    GpusOption,
    IntervalOption,
    ModelOption,
    ReleaseOption,
    engine_named,
    launched_with,
    machine_told,
)
from perfagent.cli.watch import of_recording, of_servers
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.domain.knob import Change, Knob, change_of
from perfagent.forecast import Forecaster, Load, Predicted, Prediction, case

_LOAD = ("rate_per_s", "scale", "prompt_tokens", "output_tokens")


def predict(
    url: Annotated[str | None, typer.Argument(help="Base address of the server, such as http://host:8000.")] = None,
    replay: Annotated[Path | None, typer.Option(help="A recording: a folder NNN.prom with meta.json.")] = None,
    knobs: Annotated[
        list[str] | None, typer.Option("--set", help="A setting to change, such as max_num_seqs=64; may be repeated.")
    ] = None,
    load: Annotated[
        str,
        typer.Option(
            help=f"A change of the load, such as scale=2 or rate_per_s=12,output_tokens=300: {', '.join(_LOAD)}."
        ),
    ] = "",
    engine: EngineOption = "auto",
    look: Annotated[str, typer.Option("--for", help="How long to watch, such as 60s.")] = "60s",
    flags: FlagsOption = "",
    release: ReleaseOption = None,
    gpu: GpuOption = None,
    gpus: GpusOption = None,
    model: ModelOption = None,
    interval: IntervalOption = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same luck.")] = 0,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TABLE,
) -> None:
    """Say what a change of settings or load would do, with intervals, from the server's own metrics."""
    if (url is None) == (replay is None):
        raise fail("give an address, or --replay with a folder", Exit.WRONG_USE)
    try:
        name = engine_named(engine)
        if replay is not None:
            seen = of_recording(replay, name, None if interval is None else seconds(interval))
        else:
            seen = of_servers([url or ""], name, seconds(look), launched_with(flags), release)
        window, config = seen.views[0]
        change = _change(window.engine, knobs or ())
        if change:
            engines.check(window.engine, change, config)
        machine = machine_told(seen.machine, gpu, gpus, model)
        known = case(window, config, seen.launch, machine)
        # a recording is asked about its own while, whose load is known
        asked = known.demand if replay is not None and not load else _load(load)
        with working("predicting") as progress:
            found = Forecaster(known, seed).predict(change, asked, progress=progress)
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    except AgentError as unreachable:
        raise fail(str(unreachable), Exit.UNREACHABLE) from unreachable
    spelled = engines.spell(window.engine, change, config.release) if change else ()
    what = {"target": seen.label, "engine": seen.engine, "release": config.release, "flags": list(spelled)}
    emit(what | as_data(found) | {"notes": [*seen.notes, *found.notes]}, output, _table)


def as_data(found: Prediction) -> dict[str, Any]:
    """The prediction as JSON-ready data."""
    return {
        "changes": dict(found.change),
        "load": {name: value for name, value in asdict(found.load).items() if value is not None},
        "predicted": {figure: _figure(told) for figure, told in found.figures.items()},
        "kv_cache_tokens": {"value": round(found.kv_tokens), "now": round(found.kv_tokens_now)},
        "fit": {"pinned": sorted(found.pinned), "residual_ratio": round(found.residual_ratio, 4)},
        "notes": list(found.notes),
    }


def _figure(told: Predicted) -> dict[str, Any]:
    numbers = {"value": told.value, "low": told.low, "high": told.high, "now": told.now, "twin_now": told.twin_now}
    rounded = {name: None if number is None else float(f"{number:.6g}") for name, number in numbers.items()}
    slope = None if told.elasticity is None else round(told.elasticity, 2)
    return rounded | {"elasticity": slope, "direction_only": told.direction_only, "direction": told.direction}


def _change(engine: str, knobs: Sequence[str]) -> Change:
    values = {}
    for each in knobs:
        name, equals, text = each.partition("=")
        if not equals or name not in set(Knob):
            raise InvalidInput(f"--set {each}: write knob=value; knobs are {', '.join(Knob)}")
        values[Knob(name)] = engines.value_of(engine, Knob(name), text)
    return change_of(values) if values else ()


def _load(text: str) -> Load:
    fields = dict(part.partition("=")[::2] for part in text.split(",")) if text else {}
    unknown = sorted(set(fields) - set(_LOAD))
    if unknown:
        raise InvalidInput(f"a load has no {unknown[0]!r}; say {', '.join(_LOAD)}")
    try:
        return Load(**{name: float(value) for name, value in fields.items()})
    except ValueError as wrong:
        raise InvalidInput(f"--load {text}: its values are numbers") from wrong


def _table(data: dict[str, Any]) -> None:
    what = " ".join([*data["flags"], *(f"{name} {value:g}" for name, value in data["load"].items())]) or "no change"
    out.print(Text(f"{data['target']}: {data['engine']} {data['release'] or 'release unknown'}, {what}", style="bold"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "now", "predicted", "90 % of what may come", "elasticity", ""):
        table.add_column(column)
    for name, told in data["predicted"].items():
        value, low, high = (short(told[key]) for key in ("value", "low", "high"))
        near = Text("near critical: direction only", style="yellow") if told["direction_only"] else Text("")
        predicted = told["direction"] if told["direction_only"] else value
        table.add_row(name, short(told["now"]), predicted, f"{low} … {high}", short(told["elasticity"]), near)
    out.print(table)
    tokens, fit = data["kv_cache_tokens"], data["fit"]
    out.print(f"KV cache: {tokens['now']:,} → {tokens['value']:,} tokens", style="dim")
    pinned = ", ".join(fit["pinned"]) or "nothing"
    out.print(f"The window itself tells {pinned}; fitted to {fit['residual_ratio']:.1%}.", style="dim")
    for note in data["notes"]:
        out.print(Text(f"note: {note}", style="dim"))
