"""Findings → proposals: every optimizer is asked, and the engine's table has the last word.

No finding, no proposal; never past a bound, never an option that the release lacks, nothing that is in force already.
"""

from collections.abc import Callable, Sequence

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.finding import Cause, Diagnosis, Finding
from perfagent.domain.knob import Change, EffectiveConfig
from perfagent.domain.proposal import Advice, Proposal
from perfagent.optimizers.batching import mix_prompts_in, raise_running_limit, raise_token_budget, smaller_pieces
from perfagent.optimizers.draft import Case, Draft
from perfagent.optimizers.kv_cache import eight_bit_cache, lift_block_cap, more_memory, switch_on_prefix_cache
from perfagent.optimizers.quantization import eight_bit_weights

Rule = Callable[[Case], Draft | None]

RULES: tuple[Rule, ...] = (
    raise_running_limit,
    raise_token_budget,
    switch_on_prefix_cache,
    mix_prompts_in,
    smaller_pieces,
    lift_block_cap,
    more_memory,
    eight_bit_cache,
    eight_bit_weights,
)
"""In the order of preference for one finding: what cannot alter answers comes first."""


def propose(diagnosis: Diagnosis, config: EffectiveConfig, engine: str) -> tuple[Proposal, ...]:
    """Changes that answer the findings by rules of thumb, best first. Each stands alone: one change per rollout."""
    proposals: list[Proposal] = []
    for finding, draft in drafts(diagnosis, config):
        change = accepted(draft, config, engine)
        if change is not None:
            proposals.append(as_proposal(finding, draft, change, config, engine, priority=len(proposals) + 1))
    return tuple(proposals)


def drafts(diagnosis: Diagnosis, config: EffectiveConfig) -> list[tuple[Finding, Draft]]:
    """What every rule says to every finding."""
    return [
        (finding, draft)
        for finding in diagnosis.findings
        for rule in RULES
        if (draft := rule(Case(finding, diagnosis.figures, config))) is not None
    ]


def advise(
    diagnosis: Diagnosis, proposals: Sequence[Proposal], replicas: int | None = None, held_back: Change = ()
) -> tuple[Advice, ...]:
    """What to do about the findings that no change of settings answers.

    `replicas` times as many would, if known; `held_back` would serve more, and may break an objective that holds.
    """
    answered = {proposal.cause for proposal in proposals}
    return tuple(
        _advice(each, diagnosis, replicas, held_back) for each in diagnosis.findings if each.cause not in answered
    )


def accepted(draft: Draft, config: EffectiveConfig, engine: str) -> Change | None:
    """The draft in the first spelling that the release takes; None when it takes none or has it in force already."""
    for value in draft.alternatives:
        if config.value(draft.knob) == value:
            return None
        change: Change = ((draft.knob, value),)
        try:
            engines.check(engine, change, config)
        except InvalidInput:
            continue
        return change
    return None


def as_proposal(
    finding: Finding, draft: Draft, change: Change, config: EffectiveConfig, engine: str, *, priority: int
) -> Proposal:
    """The draft as something that can be rolled out."""
    prior = config.value(draft.knob)
    return Proposal(
        optimizer=draft.optimizer,
        cause=finding.cause,
        change=change,
        prior=() if prior is None else ((draft.knob, prior),),
        flags=engines.spell(engine, change, config.release),
        description=draft.description,
        effects=draft.effects,
        risks=draft.risks,
        needs_approval=any(engines.alters_answers(engine, knob, value) for knob, value in change),
        confidence=round(finding.confidence * draft.confidence, 2),
        priority=priority,
    )


_ADVICE = {
    Cause.SPECULATION_WASTE: "Draft fewer tokens per step, or switch speculative decoding off.",
    Cause.ERRORS: "Read the server's log: no setting is tuned for failures.",
    Cause.HOST_BOUND: "Give the server more processor cores of its own, or run more processes of its front end.",
    Cause.UNDERUSED: "Fewer replicas would do, or nothing is to be done.",
    Cause.REPLICA_OUTLIER: "If its settings are those of its peers, drain this replica and look at its machine.",
}


def _advice(finding: Finding, diagnosis: Diagnosis, replicas: int | None, held_back: Change) -> Advice:
    if finding.cause in _ADVICE:
        return Advice(finding.cause, _ADVICE[finding.cause])
    told = ""
    if held_back:
        change = ", ".join(f"{knob}={value}" for knob, value in held_back)
        told = f" More would be served within the objectives with {change}, but one that holds today may break."
    if replicas is not None:
        text = f"No setting is surely for the better: by the twin, {replicas} times the replicas are."
        return Advice(finding.cause, text + told)
    if told:
        return Advice(finding.cause, f"No setting is surely for the better.{told}")
    if finding.cause is Cause.OVERLOAD:
        served, arrivals = diagnosis.figures.get("finished_per_s"), diagnosis.figures.get("arrivals_per_s")
        times = f"about {arrivals / served:.1f} times the replicas" if served and arrivals else "more replicas"
        return Advice(finding.cause, f"No setting serves this load: run {times}, or send less.")
    return Advice(
        finding.cause,
        f"No change of settings that this release offers and that is not in force already answers {finding.cause}: "
        "add replicas or hardware.",
    )
