"""What may help: the rules' answers to the findings, and the values around what is set now."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log2

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.finding import Cause, Diagnosis, Finding
from perfagent.domain.knob import Change, EffectiveConfig, Knob, change_of
from perfagent.domain.proposal import Optimizer
from perfagent.forecast.server import Server
from perfagent.optimizers.draft import Draft
from perfagent.optimizers.propose import accepted, drafts

FEW_TOKENS, MANY_TOKENS = 256, 65_536
"""Of a step: between what no engine goes below by itself on a GPU and four times the largest default."""
MANY_SEATS = 4096
TUNABLE = frozenset(
    {
        Cause.BATCH_LIMIT,
        Cause.KV_CAPACITY,
        Cause.PREFILL_BUDGET,
        Cause.LONG_PROMPT_INTERFERENCE,
        Cause.DECODE_BANDWIDTH,
        Cause.OVERLOAD,
    }
)
"""Causes that the twin plays, so that every setting it knows may answer them. What a prefix cache would find is not
told while it is off, and other causes lie outside the scheduler: there the rules' word stands."""


Promoted = Sequence[tuple[Cause, Change]]
"""Changes that went to all replicas of a service of the same engine, and what they answered."""
_FAMILIES = {
    Knob.QUANTIZATION: Optimizer.QUANTIZATION,
    Knob.KV_CACHE_DTYPE: Optimizer.KV_CACHE,
    Knob.KV_CACHE_TOKENS: Optimizer.KV_CACHE,
    Knob.GPU_MEMORY_UTILIZATION: Optimizer.KV_CACHE,
    Knob.ENABLE_PREFIX_CACHING: Optimizer.KV_CACHE,
}
"""As rules have it; what else they change is batching."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A change, and what it answers."""

    finding: Finding
    draft: Draft
    change: Change
    by_rule: bool
    """A rule says so, or it was promoted before: it is played whatever the values beside it do."""
    size: tuple[bool, float]
    """What it costs to be wrong: whether answers may change, and how far the value moves."""


def candidates(
    diagnosis: Diagnosis, config: EffectiveConfig, server: Server, promoted: Promoted = ()
) -> Iterator[Candidate]:
    """What may help by the engine's table, each once; what was promoted for the same cause before comes first."""
    seen: set[Change] = set()
    told = [(finding, draft, True) for finding, draft in drafts(diagnosis, config) if finding.cause in TUNABLE]
    more = [(finding, draft, False) for finding, draft in _around(diagnosis, server)]
    table = [
        (finding, draft, accepted(draft, config, server.engine), by_rule) for finding, draft, by_rule in told + more
    ]
    again = list(_again(diagnosis, config, server, promoted))
    helped = {change for _, _, change in again}
    table += [(finding, draft, change, True) for finding, draft, change in again]
    for finding, draft, change, by_rule in sorted(table, key=lambda one: one[2] not in helped):
        if change is None or change in seen or all(server.values.get(knob) == value for knob, value in change):
            continue
        seen.add(change)
        alters = any(engines.alters_answers(server.engine, knob, value) for knob, value in change)
        size = (alters, sum(_moved(server.values.get(knob), value) for knob, value in change))
        yield Candidate(finding, draft, change, by_rule or change in helped, size)


def _again(
    diagnosis: Diagnosis, config: EffectiveConfig, server: Server, promoted: Promoted
) -> Iterator[tuple[Finding, Draft, Change]]:
    """What was promoted for one of these findings' causes before, as far as this server takes it."""
    findings = {finding.cause: finding for finding in diagnosis.findings if finding.cause in TUNABLE}
    for cause, change in promoted:
        try:
            engines.check(server.engine, change, config)
        except InvalidInput:
            continue
        if cause in findings:
            (knob, value), *_ = change
            words = (
                f"Set {', '.join(f'{knob} = {value}' for knob, value in change)}: that was promoted for {cause} before."
            )
            risk = "what helped another server need not help this one"
            optimizer = _FAMILIES.get(knob, Optimizer.BATCHING)
            yield findings[cause], Draft(optimizer, knob, (value,), words, (), (risk,), 1.0), change


def _around(diagnosis: Diagnosis, server: Server) -> Iterator[tuple[Finding, Draft]]:
    """Powers of two of what runs at once and of a step's tokens, up and down, for the worst finding."""
    finding = next((each for each in diagnosis.findings if each.cause in TUNABLE), None)
    if finding is None:
        return
    values, seats = server.values, server.rules.seats
    knob = Knob.MAX_ACTIVE_SEQS if Knob.MAX_ACTIVE_SEQS in values else Knob.MAX_NUM_SEQS
    for number in powers(1, MANY_SEATS):
        risk = "more requests wait" if number < seats else "gaps between tokens grow with the batch"
        yield finding, _draft(knob, number, f"Let {number} requests run at once instead of {seats}.", risk)
    budget = values.get(Knob.MAX_NUM_BATCHED_TOKENS)
    if not isinstance(budget, int) or isinstance(budget, bool):
        return
    for number in powers(FEW_TOKENS, MANY_TOKENS):
        risk = "long prompts take more steps" if number < budget else "the slowest gaps grow while prompts are read"
        words = f"Compute up to {number} tokens per step instead of {budget}."
        yield finding, _draft(Knob.MAX_NUM_BATCHED_TOKENS, number, words, risk)


def with_small_steps(candidate: Candidate, config: EffectiveConfig, server: Server) -> Iterator[Candidate]:
    """The same with smaller pieces of prompts: what lets more requests run at once may hold all of them up for longer.

    Two knobs, because the one is pointless where the other's effect on the gaps between tokens is not accepted.
    """
    budget = server.values.get(Knob.MAX_NUM_BATCHED_TOKENS)
    if candidate.draft.knob is Knob.MAX_NUM_BATCHED_TOKENS or not isinstance(budget, int) or isinstance(budget, bool):
        return
    for number in powers(FEW_TOKENS, budget):
        change = change_of({**dict(candidate.change), Knob.MAX_NUM_BATCHED_TOKENS: number})
        try:
            engines.check(server.engine, change, config)
        except InvalidInput:
            continue
        if number == budget:
            continue
        words = f"{candidate.draft.description} Compute up to {number} tokens per step instead of {budget}."
        risks = (*candidate.draft.risks, "long prompts take more steps")
        size = (candidate.size[0], candidate.size[1] + _moved(budget, number))
        draft = replace(candidate.draft, description=words, risks=risks)
        yield Candidate(candidate.finding, draft, change, by_rule=False, size=size)


def _draft(knob: Knob, value: int, words: str, risk: str) -> Draft:
    return Draft(Optimizer.BATCHING, knob, (value,), words, (), (risk,), 1.0)


def powers(low: int, high: int) -> list[int]:
    """Of two, from one of them to another."""
    return [2**power for power in range(int(log2(low)), int(log2(high)) + 1)]


def _moved(now: object, then: object) -> float:
    if isinstance(now, int | float) and isinstance(then, int | float) and now > 0 and then > 0:
        return abs(log2(then / now))
    return 1.0
