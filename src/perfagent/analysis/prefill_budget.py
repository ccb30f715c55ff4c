"""`prefill_budget`: prompts are cut into many small steps, so requests wait for their first token.

Steps count as filled when token rates × ITL come near the budget. With a budget at or above what engines choose
by themselves, filled steps mean that the hardware is at its limit: that is overload, not a setting.
"""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.severity import of_wait
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Symptom
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric


def prefill_budget(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """Prompts wait to be read, the KV cache has room, running is below its limit, and steps are full at a small budget.

    They wait in the queue or, where the budget is known, among the running: somebody's prompt is always being read.
    """
    queue, reading = signals.queue_share, signals.prompts_read
    queued = queue is not None and queue >= limits.queueing_share
    told = signals.limit(Knob.MAX_NUM_BATCHED_TOKENS)
    if not queued and (told is None or reading is None or reading < 1):
        return None
    prompt = signals.prompt_tokens_per_request
    step = signals.step_tokens(signals.queueing_pairs if queued else signals.busy_pairs)
    if prompt is None or step is None:
        return None
    kv = signals.kv_queueing if queued else signals.kv_mean
    if (kv is not None and kv >= limits.kv_full) or signals.at_limit(limits.queueing_share):
        return None
    if told is None and (kv is None or not _may_infer(signals, step, prompt, limits)):
        return None
    budget = step if told is None else told
    if not 0 < budget < limits.small_budget_tokens or prompt <= budget or step < limits.step_fill * budget:
        return None
    how = "" if told is not None else " (inferred from token rates and ITL)"
    waiting = signals.waiting_mean or 0.0
    queue_or_batch = (
        f"and {waiting:.0f} requests wait behind them" if queued else f"{reading or 0:.1f} prompts at a time"
    )
    return Finding(
        Cause.PREFILL_BUDGET,
        Symptom.HIGH_LATENCY,
        of_wait(signals.before_first_token_share),
        round(signals.certainty * (0.9 if told is not None else 0.6), 2),
        signals.window.target,
        f"Prompts of {prompt:.0f} tokens are read in about {prompt / budget:.0f} steps of at most {budget:.0f} tokens"
        f"{how}, {queue_or_batch}.",
        (
            Evidence(Metric.STEP_TOKENS, "tokens per step", step, budget, "steps well below the budget"),
            Evidence(
                Metric.PROMPT_LENGTH, "mean of finished requests", prompt, budget, "prompts that fit into one step"
            ),
            Evidence(Metric.WAITING, "mean while busy", waiting, 1.0, "nobody waiting at most scrapes")
            if queued
            else Evidence(Metric.RUNNING, "prompts being read, mean", reading or 0.0, 1.0, "often no prompt to read"),
        ),
    )


def _may_infer(signals: Signals, step: float, prompt: float, limits: Limits) -> bool:
    """A backlog of prompts that outlast several small steps, on a server that is not known to allow larger ones.

    The tokens of a step are estimated, so they must be few enough for any budget that they may have filled to be small.
    """
    decode, prefill = signals.decode_s, signals.prefill_s
    small = max(signals.at_least(Knob.MAX_NUM_BATCHED_TOKENS), step / limits.step_fill) < limits.small_budget_tokens
    busy_reading = decode is not None and prefill is not None and prefill > decode
    return small and busy_reading and prompt >= 4 * step and not signals.may_be_at_limit(limits.queueing_share)
