"""The ledger copied to a real MLflow database, and what happens where there is none."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from pydantic import SecretStr

from perfagent.app import assembled
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import FORECAST, Effect
from perfagent.domain.verdict import PairedWindow, StageVerdict, Verdict
from perfagent.settings import Settings
from perfagent.store.memory import MemoryJournal
from perfagent.telemetry.events import ObservedJournal
from perfagent.telemetry.mlflow_sink import EXPERIMENT, TAG, MlflowSink
from perfagent.workflows.ledger import Entry
from perfagent.workflows.model import Phase, Request, Rollout, StageRecord
from support.rollout_events import PLAN

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
SOON_S = 60.0
"""To make MLflow's tables takes seconds."""
TTFT = Entry(
    "r1", 1000.0, "chat", "vllm", "0.33.0", ((Knob.MAX_NUM_SEQS, 64),), Metric.TTFT, "the twin", 0.2, 0.6, 0.4, 50
)
OTHERS = (replace(TTFT, metric=Metric.ITL, ratio=1.5), replace(TTFT, rollout="r2"))


def copied(uri: str, entries: Sequence[Entry]) -> None:
    sink = MlflowSink(uri)
    sink.put(entries)
    sink.close(SOON_S)
    assert not sink._thread.is_alive()


def runs(uri: str) -> dict[str, Run]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    by_rollout = {run.data.tags[TAG]: run for run in found}
    assert len(by_rollout) == len(found)
    return by_rollout


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def test_every_rollout_that_has_ended_is_a_run_and_stays_one(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    copied(uri, [TTFT])
    copied(uri, [TTFT, *OTHERS])
    found = runs(uri)
    assert set(found) == {"r1", "r2"}
    one = found["r2"]
    assert one.data.params["max_num_seqs"] == "64"
    assert (one.data.params["service"], one.data.params["release"]) == ("chat", "0.33.0")
    assert one.data.metrics["ttft_s.ratio"] == 0.4
    assert one.data.metrics["ttft_s.held"] == 1.0
    assert (one.info.start_time, one.info.status) == (1_000_000, "FINISHED")
    assert [record for record in caplog.records if record.name.startswith("perfagent")] == []


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "perfagent.telemetry.mlflow_sink"]


async def tried(uri: str, times: int) -> None:
    """Put the ledger so many times, each one taken up before the next."""
    sink = MlflowSink(uri)
    for _ in range(times):
        sink.put([TTFT])
        while sink._news.is_set():
            await asyncio.sleep(0.01)
    await asyncio.to_thread(sink.close, SOON_S)


async def test_a_store_that_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        await tried(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", times=2)
    (told,) = warnings_of(caplog)
    assert told.startswith("the ledger is not copied to MLflow: ")


async def test_without_mlflow_installed_there_is_one_warning_too(
    uri: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)  # as Python marks what cannot be imported
    await tried(uri, times=3)
    (told,) = warnings_of(caplog)
    assert told.startswith("the ledger is not copied to MLflow: ModuleNotFoundError")


async def test_the_ledger_is_put_at_the_start_and_whenever_something_happens(uri: str) -> None:
    journal, sink = ObservedJournal(MemoryJournal()), MlflowSink(uri)
    ledger = [TTFT]
    following = asyncio.create_task(sink.follow(journal, lambda: list(ledger)))
    await asyncio.sleep(0)
    ledger.extend(OTHERS)
    journal.append("r2", 0, 1.0, "applied", "{}")
    journal.close()
    await following
    await asyncio.to_thread(sink.close, SOON_S)
    assert set(runs(uri)) == {"r1", "r2"}


def ended(rollout: str, phase: Phase) -> Rollout:
    """A rollout with an outcome."""
    seen = PairedWindow(0.0, 30.0, Metric.TTFT, 1.0, 0.5, 100.0, 100.0, 3, 1)
    look = StageVerdict(Verdict.PROMOTE, ("fine",), (), (seen,))
    plan = replace(PLAN, effects=(Effect(Metric.TTFT, 0.2, 0.6, FORECAST),))
    history = (StageRecord(10, 10, ("a",), 0.0, looks=(look,)),)
    return Rollout(rollout, Request("chat", "ann"), 1.0, 1.0, phase, plan=plan, history=history)


async def test_the_service_copies_what_came_of_its_rollouts(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perfagent.app.COPIED_WITHIN_S", SOON_S)
    settings = Settings(mlflow_uri=SecretStr(uri))
    assert "sqlite" not in str(settings.shown())
    async with assembled(settings, store=tmp_path) as app:
        for rollout in (ended("r1", Phase.ROLLED_BACK), ended("r2", Phase.MONITORING)):
            app.agent.manager._rollouts[rollout.id] = rollout
    assert set(runs(uri)) == {"r1"}
