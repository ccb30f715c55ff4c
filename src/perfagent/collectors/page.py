"""From a page's bytes to a snapshot: scanned for the engine's names, and checked to be that engine's page at all."""

from collections.abc import Sequence

from perfagent import engines
from perfagent.collectors.exposition import MAX_LINES, Scanner
from perfagent.domain.errors import BadAnswer, WrongEngine
from perfagent.domain.snapshot import Sample, Snapshot


class PageReader:
    """Reads pages of any engine; what its scanners remember makes the next page of the same servers fast."""

    def __init__(self, max_lines: int = MAX_LINES) -> None:
        self._max_lines = max_lines
        self._scanners: dict[str | None, Scanner] = {}

    def read(self, page: bytes, engine: str | None, *, target: str, at_s: float, openmetrics: bool = False) -> Snapshot:
        """The snapshot that a page makes. With `engine` None it is recognised by its names.

        An empty page of an engine that was named is a snapshot without figures: TGI answers so until its first event.

        Raises `InvalidInput` for an engine that we do not know, `WrongEngine`, `TooLarge`, and `BadAnswer` for what is
        no whole metrics page.
        """
        if not page.strip():
            if engine is None:
                raise BadAnswer("the page is empty, so the engine cannot be told")
            return engines.read(engine, [], target=target, at_s=at_s)
        samples = self._scanner(engine).scan(page, openmetrics=openmetrics)
        found = _engine_of(samples) or _engine_of(Scanner(max_lines=self._max_lines).scan(page))
        if found is None:
            whose = f"{engine}'s" if engine else "an engine that we know"
            raise WrongEngine(f"a metrics page, but without any of {whose}: are they switched off?")
        if engine is not None and found != engine:
            raise WrongEngine(f"the page is {found}'s, not {engine}'s")
        return engines.read(found, samples, target=target, at_s=at_s)

    def _scanner(self, engine: str | None) -> Scanner:
        if engine not in self._scanners:
            self._scanners[engine] = Scanner(engines.wanted(engine), max_lines=self._max_lines)
        return self._scanners[engine]


def _engine_of(samples: Sequence[Sample]) -> str | None:
    return engines.recognise({sample.name for sample in samples})
