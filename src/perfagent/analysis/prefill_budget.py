"""`prefill_budget`: prompts are cut into many small steps, so requests wait for their first token.

Engines that count the steps that read prompts show how many tokens such a step holds. Elsewhere steps count as filled
when token rates × ITL come near the budget. With a budget at or above what engines choose by themselves, filled steps
mean that the hardware is at its limit: that is overload, not a setting.
"""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.severity import of_wait
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Symptom
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric


def prefill_budget(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """Prompts wait to be read, in the queue or among the running, and steps are full at a small budget."""
    prompt, step = signals.prompt_tokens_per_request, _filled_step(signals, limits)
    told = signals.limit(Knob.MAX_NUM_BATCHED_TOKENS)
    if prompt is None or step is None:
        return None
    budget = step if told is None else told
    if not 0 < budget < limits.small_budget_tokens or prompt <= budget or step < limits.step_fill * budget:
        return None
    waiting, reading = signals.waiting_mean or 0.0, signals.prompts_read or 0.0
    queued = _queued(signals, limits)
    behind = f"and {waiting:.0f} requests wait behind them" if queued else f"{reading:.1f} prompts at a time"
    how = "" if told is not None else " (inferred from what the steps hold)"
    return Finding(
        Cause.PREFILL_BUDGET,
        Symptom.HIGH_LATENCY,
        of_wait(signals.before_first_token_share),
        round(signals.certainty * (0.9 if told is not None else 0.6), 2),
        signals.window.target,
        f"Prompts of {prompt:.0f} tokens are read in about {prompt / budget:.0f} steps of at most {budget:.0f} tokens"
        f"{how}, {behind}.",
        (
            Evidence(Metric.STEP_TOKENS, "tokens per step", step, budget, "steps well below the budget"),
            Evidence(
                Metric.PROMPT_LENGTH, "mean of finished requests", prompt, budget, "prompts that fit into one step"
            ),
            Evidence(Metric.WAITING, "mean while busy", waiting, 1.0, "nobody waiting at most scrapes")
            if queued
            else Evidence(Metric.RUNNING, "prompts being read, mean", reading, 1.0, "often no prompt to read"),
        ),
    )


def reads_in_pieces(signals: Signals, limits: Limits = LIMITS) -> bool:
    """Whether most time is seen to go into steps that each read a small piece of a prompt.

    Whoever runs or holds KV cache meanwhile does so because reading takes so long.
    """
    piece, prompt, share = signals.reading_step, signals.prompt_tokens_computed, signals.reading_time_share
    if piece is None or prompt is None or share is None or share < limits.reading_share:
        return False
    return piece < limits.computing_tokens and prompt >= 2 * piece


def _filled_step(signals: Signals, limits: Limits) -> float | None:
    """Tokens of a step that a budget may have cut; None where something else explains the wait, or nobody waits."""
    if reads_in_pieces(signals, limits):
        return signals.reading_step
    told, reading, queued = signals.limit(Knob.MAX_NUM_BATCHED_TOKENS), signals.prompts_read, _queued(signals, limits)
    if not queued and (told is None or reading is None or reading < 1):
        return None
    kv = signals.kv_queueing if queued else signals.kv_mean
    if (kv is not None and kv >= limits.kv_full) or signals.at_limit(limits.queueing_share):
        return None
    step = signals.step_queueing if queued else signals.step_busy
    if told is None and (kv is None or step is None or not _may_infer(signals, step, limits)):
        return None
    return step


def _queued(signals: Signals, limits: Limits) -> bool:
    return signals.standing_share is not None and signals.standing_share >= limits.queueing_share


def _may_infer(signals: Signals, step: float, limits: Limits) -> bool:
    """A backlog of prompts that outlast several small steps, on a server that is not known to allow larger ones.

    The tokens of a step are estimated, so they must be few enough for any budget that they may have filled to be small.
    """
    read, prompt = signals.prompts_read, signals.prompt_tokens_per_request
    small = max(signals.at_least(Knob.MAX_NUM_BATCHED_TOKENS), step / limits.step_fill) < limits.small_budget_tokens
    busy_reading = read is not None and read >= limits.reading_share
    pieces = prompt is not None and prompt >= 4 * step
    return small and busy_reading and pieces and not signals.may_be_at_limit(limits.queueing_share)
