from pathlib import Path

import pytest
from typer.testing import CliRunner

from perfagent.cli.main import app


def test_without_a_services_file_there_is_nothing_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERFAGENT_SERVICES", raising=False)
    assert CliRunner().invoke(app, ["stop"]).exit_code == 2


def test_engines_that_were_never_started_are_stopped_already(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "services: {chat: {engine: vllm, process: {command: [vllm, '{port}'], replicas: [{port: 8101}]}}}"
    )
    result = CliRunner().invoke(app, ["stop", "--services", str(tmp_path / "s.yaml"), "--data", str(tmp_path)])
    assert result.exit_code == 0
    assert "none of 1 engines runs" in result.stderr
