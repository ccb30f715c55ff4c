from perfagent.clock import VirtualClock
from perfagent.collectors.fleet import FleetCollector
from perfagent.collectors.schedule import Cadence
from perfagent.domain.errors import Unreachable
from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.snapshot import Snapshot, Target


class Replicas:
    """A scraper of replicas that are up or down, and that counts how often it is asked."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.down: set[str] = set()
        self.asked: dict[str, list[float]] = {}

    async def scrape(self, target: Target, engine: str | None) -> Snapshot:
        self.asked.setdefault(target.id, []).append(self.clock.now())
        if target.id in self.down:
            raise Unreachable(f"{target.id} is down")
        return Snapshot(target.id, engine or "vllm", self.clock.now())

    async def read_config(self, target: Target, snapshot: Snapshot, launch: LaunchConfig) -> EffectiveConfig:
        return EffectiveConfig({})


FLEET = [(Target(f"r{i}", f"http://r{i}"), "vllm") for i in range(4)]


async def run(collector: FleetCollector, clock: VirtualClock, seconds: float) -> list[Snapshot]:
    seen: list[Snapshot] = []
    end = clock.now() + seconds
    while clock.now() < end:
        seen += await collector.collect(FLEET)
        await clock.sleep(max(0.001, min(collector.next_due_s(), end) - clock.now()))
    return seen


async def test_each_replica_is_scraped_once_an_interval_and_not_all_at_once() -> None:
    clock = VirtualClock()
    replicas = Replicas(clock)
    seen = await run(FleetCollector(replicas, clock, Cadence(interval_s=10)), clock, 100)
    assert {target: len(times) for target, times in replicas.asked.items()} == {f"r{i}": 10 for i in range(4)}
    assert len(seen) == 40
    assert len({times[0] for times in replicas.asked.values()}) == 4


async def test_a_replica_that_fails_is_asked_less_often_and_its_trouble_is_told_until_it_answers() -> None:
    clock = VirtualClock()
    replicas = Replicas(clock)
    collector = FleetCollector(replicas, clock, Cadence(interval_s=10, longest_s=40))
    replicas.down = {"r1"}
    await run(collector, clock, 200)
    assert collector.trouble("r1") == "r1 is down"
    assert collector.trouble("r2") is None
    assert len(replicas.asked["r1"]) < len(replicas.asked["r2"]) / 2
    replicas.down = set()
    await run(collector, clock, 60)
    assert collector.trouble("r1") is None


async def test_a_replica_that_nobody_asks_for_any_more_is_forgotten() -> None:
    clock = VirtualClock()
    collector = FleetCollector(Replicas(clock), clock, Cadence(interval_s=10))
    await run(collector, clock, 20)
    await collector.collect([])
    assert collector.next_due_s() == clock.now() + 10
