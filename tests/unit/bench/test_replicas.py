"""A drawn fleet that runs: what its pages and its actuator tell of changes, crashes and restarts."""

from collections import Counter
from math import log

import numpy as np
import pytest

from perfagent.bench.changes import KINDS, Deed, Start, Truth, kind_of
from perfagent.bench.fleets import Effect, Fleet, Restless
from perfagent.bench.replicas import Circumstances, Replicas
from perfagent.clock import VirtualClock
from perfagent.domain.errors import ActuatorFailed
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.domain.window import Window, observed, resets

QUIET = Restless(offset=0.0, swing=0.0, burst=0.0, requests_per_min=2000.0, known_min=0, failing=0.0)
ONE, OTHER = Target("r0", "http://r0"), Target("r1", "http://r1")
BEFORE, AFTER = LaunchConfig(("--max-num-seqs", "8")), LaunchConfig(("--max-num-seqs", "64"))


class Played:
    """Two replicas, the first of which is changed after a minute."""

    def __init__(self, deed: Deed, **around: float) -> None:
        rng, self.clock = np.random.default_rng(1), VirtualClock()
        drawn = Fleet(rng, 2, QUIET, Effect(), minutes=90)
        self.fleet = Replicas(
            rng, self.clock, drawn, deed, Circumstances(**around), dict.fromkeys((ONE.id, OTHER.id), BEFORE)
        )
        self.pages: list[Snapshot] = []

    async def pass_time(self, minutes: int) -> None:
        for _ in range(minutes):
            await self.clock.sleep(60.0)
            self.fleet.pass_time(60.0)
            self.pages += self.fleet.scrape()

    async def changed(self, minutes: int) -> None:
        await self.pass_time(1)
        await self.fleet.apply(ONE, AFTER)
        await self.pass_time(minutes)

    def window(self, target: Target, *, last: int = 0) -> Window:
        return Window(tuple(page for page in self.pages if page.target == target.id)[-last:])

    def ratio(self, metric: Metric, *, last: int = 0) -> float:
        new, old = (observed(self.window(each, last=last), metric) for each in (ONE, OTHER))
        assert new is not None
        assert old is not None
        assert new.mean is not None
        assert old.mean is not None
        return new.mean / old.mean


def test_of_every_hundred_rollouts_four_tenths_are_harmful_and_each_kind_has_its_share() -> None:
    for first in (0, 300):
        drawn = Counter(kind_of(number).name for number in range(first, first + 100))
        assert drawn == {kind.name: kind.per_hundred for kind in KINDS}
    assert sum(kind.per_hundred for kind in KINDS if kind.truth is Truth.HARMFUL) == 40
    assert len({kind_of(number).name for number in range(20)}) > 6


@pytest.mark.parametrize(
    ("deed", "ttft", "itl"),
    [
        (Deed(), 1.0, 1.0),
        (Deed(ttft=1.2), 1.2, 1.0),
        (Deed(itl=0.7), 1.0, 0.7),
        (Deed(slow_share=0.1, slow_times=6.0), 1.5, 1.5),
        (Deed(neighbour=1.5, neighbour_s=1e6), 1.5, 1.5),
    ],
)
async def test_the_changed_replica_does_as_its_change_says_and_the_other_as_before(
    deed: Deed, ttft: float, itl: float
) -> None:
    played = Played(deed)
    await played.changed(20)
    assert played.ratio(Metric.TTFT, last=15) == pytest.approx(ttft, rel=0.02)
    assert played.ratio(Metric.ITL, last=15) == pytest.approx(itl, rel=0.02)


async def test_a_leak_grows_from_the_start_of_the_process_and_a_rollback_ends_it() -> None:
    played = Played(Deed(growth_per_min=log(2) / 10))
    await played.changed(21)
    assert played.ratio(Metric.ITL, last=2) == pytest.approx(4.0, rel=0.05)
    await played.fleet.apply(ONE, BEFORE)
    await played.pass_time(5)
    assert played.ratio(Metric.ITL, last=3) == pytest.approx(1.0, rel=0.02)


async def test_a_neighbour_goes_away_after_a_while() -> None:
    played = Played(Deed(neighbour=2.0, neighbour_s=600.0))
    await played.changed(20)
    assert played.ratio(Metric.TTFT, last=5) == pytest.approx(1.0, rel=0.02)


async def test_requests_fail_where_the_change_makes_them() -> None:
    played = Played(Deed(failing=0.1))
    await played.changed(10)
    new, old = (played.window(each).snapshots[-1].scalars for each in (ONE, OTHER))
    failed, finished = new[Metric.FAILED][()], new[Metric.FINISHED][()]
    assert failed / (failed + finished) == pytest.approx(0.1, rel=0.1)
    assert old[Metric.FAILED][()] == 0


async def test_a_process_that_exits_at_start_is_told_and_one_that_loops_never_gets_ready() -> None:
    exits, loops = Played(Deed(start=Start.EXITS)), Played(Deed(start=Start.LOOPS))
    for played in (exits, loops):
        await played.changed(0)
        assert not await played.fleet.ready(ONE)
        await played.pass_time(30)
    with pytest.raises(ActuatorFailed):
        await exits.fleet.ready(ONE)
    assert not await loops.fleet.ready(ONE)
    for played in (exits, loops):
        assert len(played.window(ONE).snapshots) == 1
        await played.fleet.apply(ONE, BEFORE)
        await played.pass_time(2)
        assert await played.fleet.ready(ONE)


async def test_a_process_that_crashes_comes_back_and_crashes_again() -> None:
    played = Played(Deed(life_s=300.0))
    await played.changed(20)
    assert resets(played.window(ONE)) == 4
    assert resets(played.window(OTHER)) == 0


async def test_replicas_restart_by_themselves_as_often_as_is_said() -> None:
    played = Played(Deed(), own_restart_s=600.0)
    await played.pass_time(80)
    assert 8 <= sum(resets(played.window(each)) for each in (ONE, OTHER)) <= 24


async def test_scrapes_are_lost_as_often_as_is_said() -> None:
    played = Played(Deed(), lost_scrapes=0.5)
    await played.pass_time(80)
    assert 55 <= len(played.pages) <= 105


async def test_what_is_changed_is_written_down_with_the_way_it_went() -> None:
    played = Played(Deed())
    await played.changed(5)
    await played.fleet.apply(ONE, AFTER)
    await played.fleet.apply(ONE, BEFORE)
    assert [(target, away) for _, target, away in played.fleet.changes] == [("r0", True), ("r0", False)]
    assert played.fleet.configs == played.fleet.priors == {"r0": BEFORE, "r1": BEFORE}
    assert played.fleet.changed_s == 300.0
