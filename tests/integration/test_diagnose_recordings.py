"""What the command says of recordings of real engines, each under one known situation."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perfagent.cli.main import app
from support.captures import name_of, recordings


@pytest.mark.parametrize("folder", recordings(), ids=name_of)
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
