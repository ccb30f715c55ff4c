"""Everything a replica told, in order, and a few sums over it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from perfagent.twin.observer import Finished
from perfagent.twin.workload import Request


@dataclass
class Trace:
    events: list[tuple[object, ...]] = field(default_factory=list)
    steps: list[tuple[float, float, int, int]] = field(default_factory=list)
    gaps: list[tuple[float, float, int]] = field(default_factory=list)
    ttfts: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    records: dict[str, Finished] = field(default_factory=dict)
    preemptions: list[str] = field(default_factory=list)
    queried_tokens: int = 0
    hit_tokens: int = 0

    def step(self, at_s: float, duration_s: float, prompt_tokens: int, decode_tokens: int) -> None:
        self.events.append(("step", at_s, duration_s, prompt_tokens, decode_tokens))
        self.steps.append((at_s, duration_s, prompt_tokens, decode_tokens))

    def tokens(self, at_s: float, gap_s: float, count: int) -> None:
        self.events.append(("tokens", at_s, gap_s, count))
        self.gaps.append((at_s, gap_s, count))

    def decoded(self, start_s: float, since_s: float, ends_s: Sequence[float], count: int) -> None:
        for at_s in ends_s:
            self.step(at_s, at_s - start_s, 0, count)
            self.tokens(at_s, at_s - since_s, count)
            start_s = since_s = at_s

    def first_token(self, request: Request, at_s: float, queue_s: float, ttft_s: float) -> None:
        self.events.append(("first", request.id, at_s, queue_s, ttft_s))
        assert request.id not in self.ttfts
        self.ttfts[request.id] = (at_s, queue_s, ttft_s)

    def finished(self, record: Finished) -> None:
        self.events.append(("finished", record))
        assert record.request.id not in self.records
        self.records[record.request.id] = record

    def preempted(self, request: Request, at_s: float) -> None:
        self.events.append(("preempted", request.id, at_s))
        self.preemptions.append(request.id)

    def prefix(self, queried_tokens: int, hit_tokens: int) -> None:
        self.events.append(("prefix", queried_tokens, hit_tokens))
        self.queried_tokens += queried_tokens
        self.hit_tokens += hit_tokens

    def generated_tokens(self, from_s: float = 0.0, to_s: float = float("inf")) -> int:
        first = sum(from_s <= at_s < to_s for at_s, _, _ in self.ttfts.values())
        return first + sum(count for at_s, _, count in self.gaps if from_s <= at_s < to_s)

    def itl_mean_s(self, from_s: float = 0.0, to_s: float = float("inf")) -> float:
        seen = [(gap_s, count) for at_s, gap_s, count in self.gaps if from_s <= at_s < to_s]
        return sum(gap_s * count for gap_s, count in seen) / sum(count for _, count in seen)

    def ttft_mean_s(self, from_s: float = 0.0, to_s: float = float("inf")) -> float:
        seen = [ttft_s for at_s, _, ttft_s in self.ttfts.values() if from_s <= at_s < to_s]
        return sum(seen) / len(seen)
