"""What a services file says is looked after from the agent's start on, and callers may say otherwise."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import yaml

from perfagent.actuators.process import Records, proc
from perfagent.app import PROCESSES, assembled, running
from perfagent.domain.errors import InvalidInput
from perfagent.settings import Settings
from support.machine import FAKE, LOOK_S, free_port


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    port = free_port()
    process = {"command": list(FAKE), "flags": ["--max-num-seqs", "8"], "replicas": [{"port": port}]}
    path = tmp_path / "services.yaml"
    path.write_text(yaml.safe_dump({"services": {"chat": {"engine": "vllm", "process": process}}}))
    yield Settings(data=tmp_path / "data", services=path, scrape_interval_s=0.1)
    record = Records(tmp_path / "data" / PROCESSES).load(f"chat-{port}")
    if record is not None and record.life is not None:
        proc.kill_group(record.life.process)


async def test_the_engines_of_a_file_are_run_and_their_service_answers_like_any_other(settings: Settings) -> None:
    async with (
        assembled(settings, store=settings.data) as app,
        running(app, "127.0.0.1", 0) as (address, _),
        httpx.AsyncClient(base_url=f"{address}/api/v1", trust_env=False, timeout=30) as client,
    ):
        assert "process" in (await client.get("/capabilities")).json()["actuators"]
        told = (await client.get("/services/chat")).json()
        assert (told["actuator"], told["flags"]) == ("process", ["--max-num-seqs", "8"])
        while (await client.get("/services/chat/proposals")).status_code != 200:
            await asyncio.sleep(LOOK_S)
        settings_read = (await client.get("/services/chat/proposals")).json()["configuration"]["settings"]
        assert settings_read["max_num_seqs"]["value"] == 8
        body = {"engine": "vllm", "targets": [told["targets"][0]["url"]], "actuator": "process", "gpu": "h100"}
        assert (await client.put("/services/chat", json=body)).status_code == 200
        assert (await client.get("/services/chat")).json()["gpu"] == "h100"


async def test_a_file_that_is_wrong_starts_no_agent(tmp_path: Path) -> None:
    path = tmp_path / "services.yaml"
    path.write_text("services: {chat: {engine: nothing}}")
    with pytest.raises(InvalidInput, match=r"services\.chat\.engine"):
        async with assembled(Settings(data=tmp_path, services=path), store=None):
            pass
