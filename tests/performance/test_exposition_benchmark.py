"""The scanner against the reference parser and against a plain split, all in the same run: only ratios count.

make bench
"""

from collections.abc import Callable
from statistics import median
from time import perf_counter

from prometheus_client.parser import text_string_to_metric_families

from perfagent.collectors import exposition
from perfagent.collectors.exposition import Scanner
from perfagent.engines import wanted
from support.pages import FIXTURES, by_reference

ROUNDS = 15


def reference(page: str) -> list[object]:
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def plain_split(page: str) -> dict[str, float]:
    """The least that any reader does: no names, no labels, no care."""
    parts = (line.rpartition(" ") for line in page.split("\n") if line and line[0] != "#")
    return {series: float(value) for series, _, value in parts}


def timed(read: Callable[[str], object], pages: list[str], *, times: int) -> float:
    """Seconds per page."""
    begun = perf_counter()
    for _ in range(times):
        for page in pages:
            read(page)
    return (perf_counter() - begun) / times / len(pages)


def test_the_scanner_is_at_least_25_times_as_fast_as_the_reference() -> None:
    """Two successive pages of 47 KB by turns, so that the scanner meets known series with other numbers."""
    pages = [(FIXTURES / "pages" / name).read_text() for name in ("vllm-0.26.0.prom", "vllm-0.26.0-next.prom")]
    scanner, everything = Scanner(wanted("vllm")), Scanner()

    def cold(page: str) -> object:
        exposition._plain_labels.cache_clear()
        exposition._keys.cache_clear()
        return Scanner(wanted("vllm")).scan(page)

    readers: dict[str, Callable[[str], object]] = {
        "reference": reference,
        "wanted names": scanner.scan,
        "every name": everything.scan,
        "first page ever": cold,
        "plain split": plain_split,
    }
    took_s: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(ROUNDS):
        for name, read in readers.items():
            took_s[name].append(timed(read, pages, times=5))
    kept = len(scanner.scan(pages[0]))
    print(f"\n{len(pages[0])} bytes, {len(by_reference(pages[0]))} samples, {kept} wanted; reference = 1")
    ratios = {name: median(took_s["reference"]) / median(times) for name, times in took_s.items()}
    for name, ratio in ratios.items():
        print(f"  {name:16}{ratio:6.1f} ×   {median(took_s[name]) * 1e3:7.3f} ms per page")
    assert ratios["wanted names"] >= 25
