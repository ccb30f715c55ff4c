import time
from pathlib import Path

import pytest

from perfagent.app import assembled
from perfagent.settings import Settings
from support.postgres import Postgres

WRONG_S = 10_000.0


async def test_an_agent_on_a_machine_whose_clock_is_wrong_goes_by_the_databases(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server runs on this machine, so that its clock is the true one; only this process is misled."""
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + WRONG_S)
    async with assembled(Settings(), store=server.new_database()) as app:
        assert abs(app.agent.now() - true_time()) < WRONG_S / 10
    async with assembled(Settings(), store=tmp_path) as app:
        assert abs(app.agent.now() - true_time()) > WRONG_S / 10
