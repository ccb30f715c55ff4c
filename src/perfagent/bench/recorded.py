"""Labelled recordings of real engines: folders of pages whose `meta.json` says in `accept` what counts as right."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from perfagent.bench.look import views_of, write_stripped
from perfagent.bench.outcome import Outcome, Question, answered
from perfagent.domain.errors import AgentError, InvalidInput

UNREADABLE = "unreadable"


def labelled(root: Path) -> list[Path]:
    """Every folder below `root`, itself included, that has pages and a label; raises `InvalidInput` without any."""
    folders = sorted({meta.parent for meta in root.rglob("meta.json") if any(meta.parent.glob("*.prom"))})
    found = [folder for folder in folders if _accept(meta_of(folder))]
    if not found:
        raise InvalidInput(f"below {root} is no recording with `accept` in its meta.json")
    return found


def diagnose_recorded(folder: Path, *, ablation: bool = False) -> Outcome:
    """Diagnosed without its label. One that cannot be read counts as wrong."""
    meta = meta_of(folder)
    accept = _accept(meta)
    label = str(meta["label"]) if meta.get("label") in accept else accept[0]
    question = Question(
        f"{folder.parent.name}/{folder.name}",
        label,
        str(meta.get("engine", "unknown")),
        bool(meta.get("flags")),
        label,
        frozenset(accept),
    )
    with TemporaryDirectory() as room:
        try:
            views = views_of([write_stripped(folder, meta, Path(room))])
            return answered(question, views, ablation=ablation)
        except AgentError:
            return Outcome(question, (UNREADABLE,), UNREADABLE, blind=False, hours=0.0)


def meta_of(folder: Path) -> Mapping[str, object]:
    """What a recording says of itself. Raises `InvalidInput` where that cannot be read."""
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise InvalidInput(f"{folder / 'meta.json'} cannot be read: {error}") from error
    return meta if isinstance(meta, dict) else {}


def _accept(meta: Mapping[str, object]) -> tuple[str, ...]:
    accept = meta.get("accept")
    return tuple(str(label) for label in accept) if isinstance(accept, list) else ()
