"""`overload`: more comes in than any configuration here can serve.

Named only when no setting explains the queue: the KV cache has room, running is below its limit, and steps are full
at a token budget that is not small, so the hardware is. Requests that wait although steps have room wait for something
else: an admission rule, the CPU, a setting that is not known. With the prefix cache switched off, nobody knows how much
of the work could be spared.
"""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.severity import of_wait
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Symptom
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric


def overload(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """A queue that stands and grows through the window."""
    share, arrivals, served = signals.queue_share, signals.arrivals_per_s, signals.finished_per_s
    if share is None or share < limits.queueing_share or arrivals is None or served is None:
        return None
    if signals.config.value(Knob.ENABLE_PREFIX_CACHING) is False or not hardware_is_full(signals, limits):
        return None
    growth = signals.queue_growth
    if growth is None or growth < limits.growth or arrivals <= served:
        return None
    return Finding(
        Cause.OVERLOAD,
        Symptom.QUEUE_BUILDUP,
        of_wait(signals.wait_share),
        round(signals.certainty * 0.7, 2),
        signals.window.target,
        f"{arrivals:.2f} requests/s arrive and {served:.2f} are served; the queue grows, and the steps are full.",
        (
            Evidence(Metric.WAITING, "second half / first half", growth, limits.growth, "a queue that drains"),
            Evidence(Metric.FINISHED, "served per second, of those that arrive", served, arrivals, "as many as arrive"),
        ),
    )


def hardware_is_full(signals: Signals, limits: Limits = LIMITS) -> bool:
    """Whether steps are full at a usual budget while others wait, the cache has room and slots are free."""
    kv, step = signals.kv_queueing, signals.step_tokens(signals.queueing_pairs)
    if kv is None or kv >= limits.kv_room or step is None or signals.may_be_at_limit(limits.queueing_share):
        return False
    budget = signals.at_least(Knob.MAX_NUM_BATCHED_TOKENS)
    usual = budget >= limits.small_budget_tokens
    return step >= (limits.step_fill * budget if usual else limits.small_budget_tokens)
