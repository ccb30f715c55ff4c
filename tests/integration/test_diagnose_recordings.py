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
    # a larger cache was tried and served no more: the cores are full at steps far smaller than a GPU's; but what holds
    # requests back on the page is the cache, and nothing on it says what a step costs with little in it
    "sglang-0.5.23-two-cores/overload",
    # whether a larger cache would spare the prompts that fill the steps cannot be seen; part of them is found in it
    "vllm-0.32.0-two-cores/prefix_thrash",
}
"""Told wrong, and known to be."""


def cases() -> list[ParameterSet]:
    wrong = pytest.mark.xfail(strict=True)
    return [
        pytest.param(
            folder, id=name_of(folder), marks=(wrong,) if f"{folder.parent.name}/{folder.name}" in MISSED else ()
        )
        for folder in recordings()
    ]


@pytest.mark.parametrize("folder", cases())
def test_the_first_cause_is_one_that_is_honestly_right(folder: Path, tmp_path: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    accepted = meta.pop("accept")
    for told in ("label", "situation", "injected_cause", "expected", "truth", "client"):
        meta.pop(told, None)
    stripped = tmp_path / "recording"
    shutil.copytree(folder, stripped)
    (stripped / "meta.json").write_text(json.dumps(meta))

    answer = CliRunner().invoke(app, ["diagnose", "--replay", str(stripped), "-o", "json"])

    assert answer.exit_code == 0, answer.output
    causes = [finding["cause"] for finding in json.loads(answer.stdout)["findings"]]
    assert (causes or ["none"])[0] in accepted
