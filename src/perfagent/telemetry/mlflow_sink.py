"""The ledger in MLflow, for teams that keep their experiments there: a run for every rollout that has ended.

An optional copy: the journal has everything. It is written on a thread of its own, so a tracking server that is slow or
gone holds nothing up, and what goes wrong is one warning until it goes well again.
"""

import logging
import os
from collections.abc import Callable, Sequence
from itertools import groupby
from threading import Event, Thread
from typing import Any

from perfagent.ports import Feed
from perfagent.workflows.ledger import Entry

EXPERIMENT = "perfagent"
TAG = "perfagent.rollout"
_LOG = logging.getLogger(__name__)


class MlflowSink:
    """Copies entries to a tracking server or database; `pip install 'performance-agent[mlflow]'` has what it takes."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._latest: Sequence[Entry] = ()
        self._news, self._closing, self._well = Event(), False, True
        self._client: Any = None
        self._experiment = ""
        self._written: set[str] = set()
        self._thread = Thread(target=self._run, name="mlflow", daemon=True)
        self._thread.start()

    def put(self, entries: Sequence[Entry]) -> None:
        """The whole ledger of rollouts that have ended, by rollout; what is in MLflow already is not written again."""
        self._latest = entries
        self._news.set()

    def close(self, within_s: float) -> None:
        """Write what was put last, and stop; what takes longer is left unwritten until the next start."""
        self._closing = True
        self._news.set()
        self._thread.join(within_s)

    async def follow(self, feed: Feed, ended: Callable[[], Sequence[Entry]]) -> None:
        """Put the ledger now and whenever something happens, until the feed ends."""
        with feed.subscribe() as news:
            self.put(ended())
            while await news.next() is not None:
                self.put(ended())

    def _run(self) -> None:
        last = False
        while not last:
            self._news.wait()
            self._news.clear()
            last = self._closing
            try:
                self._write(self._latest)
            except Exception as error:  # whatever MLflow, its database or the network raises
                if self._well:
                    _LOG.warning("the ledger is not copied to MLflow: %s: %s", type(error).__name__, error)
                self._well = False
            else:
                self._well = True

    def _write(self, entries: Sequence[Entry]) -> None:
        if self._client is None:
            self._connect()
        for rollout, found in groupby(entries, lambda entry: entry.rollout):
            if rollout not in self._written:
                self._write_rollout(rollout, list(found))
                self._written.add(rollout)

    def _connect(self) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.tracking import MlflowClient  # takes seconds, and may be absent

        client = MlflowClient(tracking_uri=self._uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        self._experiment = known.experiment_id if known is not None else client.create_experiment(EXPERIMENT)
        page = None
        while True:
            page = client.search_runs([self._experiment], page_token=None if page is None else page.token)
            self._written |= {run.data.tags[TAG] for run in page if TAG in run.data.tags and run.info.end_time}
            if not page.token:
                break
        self._client = client

    def _write_rollout(self, rollout: str, entries: Sequence[Entry]) -> None:
        first = entries[0]
        run = self._client.create_run(
            self._experiment, start_time=int(1000 * first.at_s), tags={TAG: rollout}, run_name=rollout
        ).info.run_id
        self._client.log_param(run, "service", first.service)
        self._client.log_param(run, "engine", first.engine)
        self._client.log_param(run, "release", first.release)
        for knob, value in first.change:
            self._client.log_param(run, knob.value, value)
        for entry in entries:
            for name in ("low_ratio", "ratio", "high_ratio", "held"):
                self._client.log_metric(run, f"{entry.metric}.{name}", float(getattr(entry, name)))
        self._client.set_terminated(run)
