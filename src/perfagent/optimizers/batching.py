"""Batching: how many requests may run at once, and how many tokens a step may hold."""

from collections.abc import Mapping

from perfagent.domain.finding import Cause
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import Effect, Optimizer
from perfagent.optimizers.draft import RULE_OF_THUMB, Case, Draft

HEADROOM = 1.5
"""Room above the concurrency that the arrivals need: larger batches make steps, and so requests, longer."""
KV_FILL = 0.85
"""How full the KV cache may become by running more requests: below the 0.9 from which it binds."""
BLIND_FACTOR = 4
"""How far the limit is raised where neither arrivals nor KV usage tell how far it should be."""
USUAL_BUDGET_TOKENS = 2048
"""Smallest token budget that any engine chooses by itself on a GPU."""


def raise_running_limit(case: Case) -> Draft | None:
    """Answers `batch_limit`: as many slots as the arrivals need with headroom, within the room of the KV cache."""
    if case.finding.cause is not Cause.BATCH_LIMIT:
        return None
    knob, cap, ranks = _limit_of_a_rank(case)
    demand, room = (None if value is None else value / ranks for value in (_demand(case.figures), _room(case.figures)))
    wished = max(2 * cap, HEADROOM * (demand or BLIND_FACTOR / HEADROOM * cap))
    budget = case.config.number(Knob.MAX_NUM_BATCHED_TOKENS)
    switched_on = budget if budget is not None and budget > 0 else None
    within = case.config.number(Knob.MAX_NUM_SEQS) if knob is Knob.MAX_ACTIVE_SEQS else None
    most = min(value for value in (room, switched_on, within, wished) if value is not None)
    target = _power_of_two(most, up=most == wished and (room is None or _next_power(wished) <= room))
    if target <= cap:
        return None
    served, arrivals = case.figures.get("finished_per_s"), case.figures.get("arrivals_per_s")
    gain = target / cap
    if served and arrivals and arrivals > served:
        gain = min(gain, arrivals / served)
    return Draft(
        Optimizer.BATCHING,
        knob,
        (target,),
        f"Let {target} requests run at once instead of {cap:.0f}: others wait although the KV cache has room.",
        (
            Effect(Metric.TTFT, 0.01, 0.7, RULE_OF_THUMB),
            Effect(Metric.GENERATION_TOKENS, 1.0, max(1.1, gain), RULE_OF_THUMB),
            Effect(Metric.ITL, 1.0, 2.0, f"{RULE_OF_THUMB}: ITL 8.2 → 9.4 ms from 16 to 32 (vllm issue 17598)"),
        ),
        ("gaps between tokens grow with the batch", "larger buffers and graphs leave a little less KV cache"),
        0.9,
    )


def raise_token_budget(case: Case) -> Draft | None:
    """Answers `prefill_budget`: up to eight times the budget, not past what engines choose by themselves."""
    if case.finding.cause is not Cause.PREFILL_BUDGET:
        return None
    budget = case.finding.evidence[0].limit
    target = _power_of_two(min(8 * budget, USUAL_BUDGET_TOKENS), up=True)
    if target <= budget:
        return None
    return Draft(
        Optimizer.BATCHING,
        Knob.MAX_NUM_BATCHED_TOKENS,
        (target,),
        f"Read up to {target} tokens per step instead of {budget:.0f}: prompts come in fewer, fuller steps.",
        (
            Effect(Metric.TTFT, 0.2, 0.9, RULE_OF_THUMB),
            Effect(Metric.ITL, 0.9, 2.0, f"{RULE_OF_THUMB}: steps that carry prompt tokens take longer"),
        ),
        ("the slowest gaps between tokens grow while prompts are read", "activations leave a little less KV cache"),
        0.8,
    )


def mix_prompts_in(case: Case) -> Draft | None:
    """Answers `long_prompt_interference` where decoding stands still for as long as a prompt is read."""
    if case.finding.cause is not Cause.LONG_PROMPT_INTERFERENCE or case.config.value(Knob.MIXED_CHUNK) is not False:
        return None
    return Draft(
        Optimizer.BATCHING,
        Knob.MIXED_CHUNK,
        (True,),
        "Let decoding take part in the steps that read prompts, instead of standing still meanwhile.",
        (Effect(Metric.ITL, 0.5, 1.1, RULE_OF_THUMB), Effect(Metric.TTFT, 0.9, 1.3, RULE_OF_THUMB)),
        ("prompts take a little longer", "not together with every way of speculative decoding"),
        0.6,
    )


def smaller_pieces(case: Case) -> Draft | None:
    """Answers `long_prompt_interference`: smaller pieces of prompts, down to what engines choose on small GPUs."""
    budget = case.config.number(Knob.MAX_NUM_BATCHED_TOKENS)
    if case.finding.cause is not Cause.LONG_PROMPT_INTERFERENCE or budget is None or budget <= USUAL_BUDGET_TOKENS:
        return None
    return Draft(
        Optimizer.BATCHING,
        Knob.MAX_NUM_BATCHED_TOKENS,
        (USUAL_BUDGET_TOKENS,),
        f"Read at most {USUAL_BUDGET_TOKENS} tokens per step instead of {budget:.0f}: each piece of a prompt holds the "
        "others up for a shorter time.",
        (
            Effect(Metric.ITL, 0.5, 1.1, f"{RULE_OF_THUMB}: vLLM's guide names this value for better ITL"),
            Effect(Metric.TTFT, 1.0, 1.5, RULE_OF_THUMB),
        ),
        ("long prompts take more steps, so their first token comes later",),
        0.7,
    )


def _limit_of_a_rank(case: Case) -> tuple[Knob, float, float]:
    """The knob that binds, its value, and for how many ranks it holds: the finding tells the limit of the server."""
    whole = case.finding.evidence[0].limit
    told = [(value, knob) for knob in (Knob.MAX_ACTIVE_SEQS, Knob.MAX_NUM_SEQS) if (value := case.config.number(knob))]
    if not told:
        return Knob.MAX_NUM_SEQS, whole, 1.0
    value, knob = min(told)
    return knob, value, whole / value


def _demand(figures: Mapping[str, float]) -> float | None:
    """Requests that would run at once if none had to wait: arrivals × time in service (Little's law)."""
    arrivals, whole, queue = (figures.get(n) for n in ("arrivals_per_s", "e2e_mean_s", "queue_mean_s"))
    if arrivals is None or whole is None or queue is None or whole <= queue:
        return None
    return arrivals * (whole - queue)


def _room(figures: Mapping[str, float]) -> float | None:
    """Requests that fit into the KV cache, each taking what running ones take now."""
    usage, running = figures.get("kv_usage_mean_ratio"), figures.get("running_mean")
    return KV_FILL * running / usage if usage and running else None


def _power_of_two(value: float, *, up: bool) -> int:
    whole = max(1, int(value))
    below = 1 << (whole.bit_length() - 1)
    return below if below == value or not up else _next_power(value)


def _next_power(value: float) -> int:
    power = 1
    while power < value:
        power *= 2
    return power
