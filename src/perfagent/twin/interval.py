"""The accounting of one stretch of an engine's time, as far as its metrics tell."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import exp

IDLE_SHARE = 0.02  # of the time, at most, may a busy interval have been idle


@dataclass(frozen=True, slots=True)
class Interval:
    """What the engine did between two scrapes.

    `steps` includes those that computed a piece of a prompt and produced nothing, which vLLM does not count.
    `prompt_tokens` are those computed, recomputation after preemption included; `prefill_steps` the steps that had any;
    `prompts` how many were completed. `context_tokens` sums, over steps, the context that they read; `prefix_tokens` is
    the part of it that pieces of prompts read; `pairs` the query-key pairs of prompts. `mixed` tells whether prompts
    share steps with decoding sequences. `timed_prompts` is of how many prompts the engine's own timer tells how long
    the one step took that computed it, `timed_s` the sum of these times; 0 where it has no such timer, or prompts take
    several steps. `running` and `waiting` are the smaller of the two gauges at the ends, `idle_s` is the engine's own
    figure if it has one (SGLang).
    """

    seconds: float
    steps: float
    decode_tokens: float
    prompts: float
    prompt_tokens: float
    prefill_steps: float
    context_tokens: float
    pairs: float
    running: float
    waiting: float
    prefix_tokens: float = 0.0
    timed_prompts: float = 0.0
    timed_s: float = 0.0
    idle_s: float | None = None
    mixed: bool = True

    @property
    def busy(self) -> bool:
        """Its seconds can be accounted for: idle time is known, or excluded by a queue or by many at work."""
        known = self.idle_s is not None or self.waiting > 0 or exp(-self.running) <= IDLE_SHARE
        return self.steps > 0 and self.busy_s > 0 and known

    @property
    def busy_s(self) -> float:
        """The seconds its steps took."""
        return self.seconds - (self.idle_s or 0.0)

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(
            seconds=self.seconds + other.seconds,
            steps=self.steps + other.steps,
            decode_tokens=self.decode_tokens + other.decode_tokens,
            prompts=self.prompts + other.prompts,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            prefill_steps=self.prefill_steps + other.prefill_steps,
            context_tokens=self.context_tokens + other.context_tokens,
            prefix_tokens=self.prefix_tokens + other.prefix_tokens,
            pairs=self.pairs + other.pairs,
            running=min(self.running, other.running),
            waiting=min(self.waiting, other.waiting),
            timed_prompts=self.timed_prompts + other.timed_prompts,
            timed_s=self.timed_s + other.timed_s,
            idle_s=None if self.idle_s is None or other.idle_s is None else self.idle_s + other.idle_s,
            mixed=self.mixed,
        )


def merged(intervals: Iterable[Interval], prompts: int = 10) -> list[Interval]:
    """Neighbours joined until each holds so many prompts; busy ones only.

    Engines book a prompt when it is complete, so a short interval may show work that was done before it began.
    """
    rows: list[Interval] = []
    for interval in intervals:
        if not interval.busy:
            continue
        if interval.idle_s is None:  # joined to a neighbour, what excludes idle time here may no longer be seen
            interval = replace(interval, idle_s=0.0)
        if rows and rows[-1].prompts < prompts:
            rows[-1] += interval
        else:
            rows.append(interval)
    if len(rows) > 1 and rows[-1].prompts < prompts:
        rows.pop()
    return rows
