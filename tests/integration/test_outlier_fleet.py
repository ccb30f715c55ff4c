"""A slow machine among emulated ones, seen through their metrics pages."""

from perfagent import engines
from perfagent.analysis import diagnose, of_service
from perfagent.domain.finding import Cause, Diagnosis
from perfagent.domain.knob import EffectiveConfig
from perfagent.domain.window import Window
from perfagent.emulator.faults import SlowReplica
from perfagent.emulator.presets import fleet, preset
from support.pages import by_reference


def watched(slow: bool, seed: int) -> Diagnosis:
    """Five emulated replicas under an even load, watched for two minutes and a half."""
    faults = (SlowReplica(2, 2.5, from_s=0),) if slow else ()
    made = fleet(preset("healthy"), replicas=5, seed=seed, start_s=0.0, faults=faults)
    seen: list[list[str]] = [[] for _ in made.replicas]
    for tick in range(6):
        made.advance(60.0 + 30.0 * tick)
        for pages, number in zip(seen, range(5), strict=True):
            page = made.scrape(number)
            assert page is not None
            pages.append(page)
    return of_service("chat", [diagnose(_window(pages, f"r{k}"), EffectiveConfig({})) for k, pages in enumerate(seen)])


def _window(pages: list[str], target: str) -> Window:
    return Window(
        tuple(
            engines.read("vllm", by_reference(page), target=target, at_s=60.0 + 30.0 * tick)
            for tick, page in enumerate(pages)
        )
    )


def test_an_emulated_machine_that_is_slow_is_found_among_equal_ones() -> None:
    found = [finding for finding in watched(slow=True, seed=1).findings if finding.cause is Cause.REPLICA_OUTLIER]
    assert [finding.target for finding in found] == ["r2"]
    assert watched(slow=False, seed=1).findings == ()
