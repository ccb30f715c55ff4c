"""What the command says of recordings of real engines, each under one known situation."""

import json
import shutil
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from typer.testing import CliRunner

from perfagent.cli.main import app
from support.captures import name_of, recordings

MISSED = {
    "sglang-0.5.23-two-cores/overload": "called kv_capacity: a larger cache was tried and served no more, since the "
    "cores are full at steps far smaller than a GPU's; but on the page it is the cache that holds requests back, and "
    "nothing there says what a step costs with little in it",
    "vllm-0.32.0-two-cores/prefix_thrash": "called overload: part of the prompts is found in the cache, and whether a "
    "larger one would spare those that fill the steps cannot be seen",
}
"""Told wrong and known to be, with the reason; once told right they fail here."""


def cases() -> list[ParameterSet]:
    found = []
    for folder in recordings():
        reason = MISSED.get(f"{folder.parent.name}/{folder.name}")
        marks = () if reason is None else (pytest.mark.xfail(strict=True, reason=reason),)
        found.append(pytest.param(folder, id=name_of(folder), marks=marks))
    return found


@pytest.mark.parametrize("folder", cases())
def test_the_first_cause_is_one_that_is_honestly_right(folder: Path, tmp_path: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    accepted = meta.pop("accept")
    for told in ("label", "situation", "injected_cause", "expected", "truth", "client"):
        meta.pop(told, None)
    stripped = tmp_path / "recording"
    shutil.copytree(folder, stripped)
    (stripped / "meta.json").write_text(json.dumps(meta))

    answer = CliRunner().invoke(app, ["diagnose", "--no-twin", "--replay", str(stripped), "-o", "json"])

    assert answer.exit_code == 0, answer.output
    causes = [finding["cause"] for finding in json.loads(answer.stdout)["findings"]]
    assert (causes or ["none"])[0] in accepted
