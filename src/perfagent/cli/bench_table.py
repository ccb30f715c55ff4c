"""What `perfagent bench` measured, as tables for people."""

from typing import Any

from rich.table import Table

from perfagent.bench.accuracy import GOAL_HOLDS
from perfagent.bench.stops import GOAL_ROLLED_BACK
from perfagent.cli.output import out

_SHOWN_CONFUSIONS = 8


def table(data: dict[str, Any]) -> None:
    """Everything that was measured."""
    for what in ("scenarios", "recordings"):
        if what not in data:
            continue
        part = data[what]
        agent, rules = part["agent"], part["rules"]
        dropped = f", {part['dropped']} of which never came out as meant" if part.get("dropped") else ""
        out.print(f"{agent['count'] + part.get('dropped', 0)} {what}{dropped}", style="bold")
        out.print(_summary(agent, rules))
        out.print(_causes(agent))
        for title, group in (("engine", "engines"), ("played", "kinds"), ("flags", "flags")):
            out.print(_groups(title, agent[group], rules[group]))
        for right, said, count in agent["confusions"][:_SHOWN_CONFUSIONS]:
            out.print(f"{count} × {right}, said {said}")
        if "ablation" in part:
            _ablation(part["ablation"], agent["top1"])
    if "quiet_hours" in data:
        _quiet(data["quiet_hours"])


def forecasts_table(data: dict[str, Any]) -> None:
    """How well changes were foretold."""
    what = f"{data['pairs']} pairs of recordings" if "pairs" in data else f"{data['servers']} emulated servers"
    out.print(f"{data['foretold']} of {what} could be foretold", style="bold")
    told = Table(box=None, header_style="dim")
    for column in (
        "", "figure", "forecasts", "size told", "median error", "goal", "“nothing changes”", "“in proportion”",
        f"90 % interval holds, goal {GOAL_HOLDS:.0%}",
    ):  # fmt: skip
        told.add_column(column)
    for row in data["accuracy"]:
        errors = (row[key] for key in ("median_error", "goal", "unchanged_error", "in_proportion_error"))
        told.add_row(
            row["group"],
            row["figure"],
            str(row["forecasts"]),
            str(row["told"]),
            *("–" if error is None else f"{error:.1%}" for error in errors),
            _within(row["holds"], "{:.0%}"),
        )
    out.print(told)
    for reason, count in data.get("refused", {}).items():
        out.print(f"{count} × refused: {reason}")
    if data.get("would_not_start"):
        missed = data["would_not_start_unseen"]
        out.print(
            f"{data['would_not_start']} would not have started with the change, {missed} of them foretold all the same"
        )


def tuning_table(data: dict[str, Any]) -> None:
    """How near the best each method came."""
    left_out = f", {data['left_out']} left out that no setting solves" if data["left_out"] else ""
    out.print(f"{data['problems']} problems, {data['seeds']} times each{left_out}", style="bold")
    told = Table(box=None, header_style="dim")
    for column in ("", "of the best, median", "worst tenth", "live trials", "p that the twin is not better"):
        told.add_column(column)
    for name, of in data["methods"].items():
        p = of["p_twin_is_better"]
        shares = (f"{of[key]:.1%}" for key in ("reached_median", "reached_tenth"))
        told.add_row(name, *shares, f"{of['trials_median']:.0f}", "–" if p is None else f"{p:.2g}")
    out.print(told)


def judge_table(data: dict[str, Any]) -> None:
    """How whole rollouts ended, and what incumbents' rules made of the same canaries."""
    out.print(f"{data['fleets']} fleets of each kind, seed {data['seed']}; percent of whole rollouts", style="bold")
    told = Table(box=None, header_style="dim")
    for column in ("fleets", "stages", "change", "rolled back", "promoted", "held", "refused", "minutes"):
        told.add_column(column)
    for row in [{"noise": "all"} | row for row in data["overall"]] + data["cells"]:
        minutes = row["minutes_median"]
        told.add_row(
            row["noise"],
            row["design"],
            row["effect"],
            *(_percent(row[name]) for name in ("rolled_back", "promoted", "held", "refused")),
            "–" if minutes is None else f"{minutes:.0f}",
        )
    out.print(told)
    rules = Table(
        box=None, header_style="dim", title="rolled back by incumbents' rules, first stage", title_justify="left"
    )
    watched = [row for row in data["overall"] if row["incumbents_rolled_back"]]
    rules.add_column("rule")
    for row in watched:
        rules.add_column(f"{row['design']} {row['effect']}")
    for rule in watched[0]["incumbents_rolled_back"] if watched else ():
        rules.add_row(rule, *(_percent(row["incumbents_rolled_back"][rule]) for row in watched))
    out.print(rules)


def rollout_table(data: dict[str, Any]) -> None:
    """How rollouts of each kind of change ended, and whether anything happened that must not."""
    out.print(
        f"{data['rollouts']} rollouts on emulated fleets, seed {data['seed']}; percent of those begun", style="bold"
    )
    told = Table(box=None, header_style="dim")
    for column in (
        "change", "rollouts", "refused", "rolled back", "held", "promoted", "stopped at the first stage",
        "minutes", "replica-minutes changed", "at most",
    ):  # fmt: skip
        told.add_column(column)
    for row in [{"kind": f"all {row['truth']}"} | row for row in data["truths"]] + data["kinds"]:
        figures = (row[name] for name in ("minutes_median", "changed_min_median", "changed_min_most"))
        told.add_row(
            row["kind"],
            str(row["rollouts"]),
            str(row["refused"]),
            *(_ended(row, end) for end in ("rolled_back", "held", "promoted")),
            _percent(row["stopped_first"]),
            *("–" if figure is None else f"{figure:.0f}" for figure in figures),
        )
    out.print(told)
    good, harmful, _ = data["truths"]
    out.print(
        f"good changes rolled back: {_percent(good['rolled_back'])} %, goal at most {100 * GOAL_ROLLED_BACK:.0f} %"
    )
    out.print(f"harmful ones stopped at the first stage: {_percent(harmful['stopped_first'])} %, goal all of them")
    out.print(f"{data['deaths']} agents died on the way; left half applied: {data['half_applied']} rollouts")
    for broken in data["broken"]:
        out.print(f"must never happen, and did: {broken}", style="bold red")


def _ended(row: dict[str, Any], end: str) -> str:
    """The share, and how many at which stage."""
    share = row[end]["value"]
    stages = ", ".join(f"{count} at {percent} %" for percent, count in row.get(f"{end}_at", {}).items())
    return "–" if share is None else f"{100 * share:.0f}" + (f" ({stages})" if stages else "")


def _percent(measured: dict[str, float | None]) -> str:
    value, low, high = (100 * (measured[name] or 0.0) for name in ("value", "low", "high"))
    return f"{value:.1f} ({low:.1f}–{high:.1f})"


def _ablation(ablation: dict[str, Any], top1: dict[str, float | None]) -> None:
    causes = Table(box=None, header_style="dim")
    for column in ("cause", "right", "share of these lost without"):
        causes.add_column(column)
    for name, of in ablation["causes"].items():
        lost = ", ".join(f"{piece} {share['value']:.2f}" for piece, share in of["lost_without"].items())
        causes.add_row(name, str(of["right"]), lost or "–")
    out.print(causes)
    pieces = Table(box=None, header_style="dim")
    for column in ("without", f"top-1 instead of {_share(top1)}"):
        pieces.add_column(column)
    for piece, left in ablation["top1_without"].items():
        if left["value"] != top1["value"]:
            pieces.add_row(piece, _share(left))
    out.print(pieces)


def _quiet(quiet: dict[str, Any]) -> None:
    dropped = f", {quiet['dropped']} more never came out as meant" if quiet["dropped"] else ""
    out.print(f"{quiet['stretches']} servers with nothing wrong, watched live{dropped}", style="bold")
    summary = Table(box=None, show_header=False)
    summary.add_row(f"windows with a false alarm in {quiet['fault_free_hours']:.1f} hours", str(quiet["false_alarms"]))
    summary.add_row("… per 1,000 of them", _rate(quiet["false_alarms_per_1000_h"]))
    summary.add_row("distinct, neighbouring windows together", str(quiet["distinct_alarms"]))
    summary.add_row("… per 1,000 hours", _rate(quiet["distinct_alarms_per_1000_h"]))
    summary.add_row("incidents that fired, as a live agent calls somebody", str(quiet["fired"]))
    summary.add_row("… per 1,000 hours", _rate(quiet["fired_per_1000_h"]))
    out.print(summary)
    if not quiet["causes"]:
        return
    causes = Table(box=None, header_style="dim")
    for column in ("false alarm", "windows", "distinct", "fired", "played"):
        causes.add_column(column)
    said = (*quiet["alarms"], *quiet["incidents"])
    for name, of in quiet["causes"].items():
        played = sorted({f"{one['engine']} {one['played']}" for one in said if one["cause"] == name})
        causes.add_row(name, str(of["windows"]), str(of["distinct"]), str(of["fired"]), ", ".join(played))
    out.print(causes)


def _summary(agent: dict[str, Any], rules: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="dim")
    for column in ("", "agent", "simple rules"):
        table.add_column(column)
    for name, label in (("top1", "top-1"), ("macro_f1", "macro-F1")):
        table.add_row(label, _share(agent[name]), _share(rules[name]))
    hours = f"false alarms in {agent['fault_free_hours']:.1f} fault-free instance-hours"
    table.add_row(hours, str(agent["false_alarms"]), str(rules["false_alarms"]))
    per = "false_alarms_per_1000_h"
    table.add_row("… per 1,000 of them", _rate(agent[per]), _rate(rules[per]))
    return table


def _causes(agent: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="dim")
    for column in ("cause", "n", "recall", "precision", "F1", "missed, but told as not judged"):
        table.add_column(column)
    for name, of in agent["causes"].items():
        precision = "–" if of["precision"] is None else f"{of['precision']:.2f}"
        table.add_row(name, str(of["count"]), _share(of["recall"]), precision, f"{of['f1']:.2f}", str(of["told_blind"]))
    return table


def _groups(title: str, agent: dict[str, Any], rules: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="dim")
    for column in (title, "agent's top-1", "simple rules'"):
        table.add_column(column)
    for name, measured in agent.items():
        table.add_row(name, _share(measured), _share(rules[name]))
    return table


def _share(measured: dict[str, float | None]) -> str:
    return _within(measured, "{:.3f}")


def _rate(measured: dict[str, float | None]) -> str:
    return _within(measured, "{:.0f}")


def _within(measured: dict[str, float | None], form: str) -> str:
    if measured["value"] is None:
        return "–"
    value, low, high = (form.format(measured[name]) for name in ("value", "low", "high"))
    return f"{value} ({low} … {high})"
