"""`perfagent demo-vllm` where its servers cannot run."""

from pathlib import Path

from typer.testing import CliRunner

from perfagent.cli.main import app
from perfagent.cli.output import Exit


def test_servers_that_end_at_once_are_told_and_everything_is_kept_where_it_was_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "kept" / "here"
    words = ["demo-vllm", "--vllm", "false", "--model", "none", "--data", str(folder)]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == Exit.UNREACHABLE
    assert "exited with 1 before it had ever answered" in " ".join(answer.stderr.split())
    assert (folder / "services.yaml").exists()


def test_a_program_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    words = ["demo-vllm", "--vllm", str(tmp_path / "vllm"), "--model", "none", "--data", str(tmp_path)]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == Exit.WRONG_USE
    assert "is no program here" in answer.stderr
