"""Small emulated fleets, and their pages read the way the agent reads them."""

from collections.abc import Sequence

from perfagent import engines
from perfagent.collectors.exposition import scan
from perfagent.domain.histogram import Histogram
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Snapshot
from perfagent.emulator import Fault, Fleet, Machine, Timing, gpu, model
from perfagent.emulator.process import Process
from perfagent.twin import Lengths, SharedPrefixes, Workload

RELEASES = (("vllm", "0.33.0"), ("vllm", "0.10.1"), ("sglang", "0.5.23"), ("tgi", "3.3.7"))
START_S = 1_800_000_000.0


def machine(engine: str = "vllm", release: str = "0.33.0", *, on: str = "h100") -> Machine:
    """An 8B model on one GPU."""
    return Machine(engine, release, gpu(on), model("llama-3.1-8b"))


def launch(of: Machine, *flags: str) -> LaunchConfig:
    """These flags, and the one without which some engines have no metrics."""
    needed = () if of.habits.metrics_flag is None else (of.habits.metrics_flag,)
    return LaunchConfig((*needed, *flags))


def burst(rate_per_s: float, *, until_s: float, seed: int = 1, prefixes: SharedPrefixes | None = None) -> Workload:
    """Short chats that stop arriving at some time."""
    return Workload(
        rate_per_s=((0.0, rate_per_s), (until_s, 0.0)),
        prompt=Lengths(300, 0.5, longest=2000),
        output=Lengths(60, 0.5, longest=400),
        prefixes=prefixes,
        seed=seed,
    )


def fleet(
    *flags: str,
    of: Machine | None = None,
    replicas: int = 1,
    workload: Workload | None = None,
    patience_s: float | None = None,
    faults: Sequence[Fault] = (),
    timing: Timing | None = None,
    start_s: float = START_S,
) -> Fleet:
    """Replicas of `of` (vLLM 0.33.0 for None) that begin at `START_S`."""
    what = of or machine()
    return Fleet(
        what,
        launch(what, *flags),
        replicas=replicas,
        workload=workload,
        patience_s=patience_s,
        faults=faults,
        timing=timing,
        start_s=start_s,
    )


def page(of: Fleet, replica: int = 0) -> str:
    """A replica's page; the test fails when there is none."""
    text = of.scrape(replica)
    assert text is not None
    return text


def snapshot(of: Fleet, replica: int = 0) -> Snapshot:
    """A replica's page as the agent reads it."""
    engine = of.machine.engine
    samples = scan(page(of, replica), engines.wanted(engine))
    return engines.read(engine, samples, target=f"r{replica}", at_s=of.now_s)


def scalar(of: Snapshot, metric: Metric) -> float:
    """A gauge or counter over its series."""
    return sum(of.scalars[metric].values())


def histogram(of: Snapshot, metric: Metric) -> Histogram:
    """A histogram that has one series."""
    (only,) = of.histograms[metric].values()
    return only


def process(of: Fleet, replica: int = 0) -> Process:
    """The replica's present process; the test fails when there is none."""
    running = of.replicas[replica].process
    assert running is not None
    return running
