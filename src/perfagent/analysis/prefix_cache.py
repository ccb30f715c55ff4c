"""`prefix_cache`: it is switched off on a server that is busy reading prompts.

Whether prompts begin alike cannot be seen while it is off; switched on it costs next to nothing where they do not. A
cache that is on but too small or badly routed to is not told apart yet from prompts that simply differ.
"""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.overload import hardware_is_full
from perfagent.analysis.severity import of_wait
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Symptom
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric


def prefix_cache(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """Off, while most computed tokens are prompts' and one is mostly being read, or they queue for full steps."""
    share, reading, queue = signals.prompt_token_share, signals.prompts_read, signals.standing_share
    if signals.config.value(Knob.ENABLE_PREFIX_CACHING) is not False or share is None or share < limits.reading_share:
        return None
    queued = queue is not None and queue >= limits.queueing_share and hardware_is_full(signals, limits)
    if not queued and (reading is None or reading < limits.reading_share):
        return None
    return Finding(
        Cause.PREFIX_CACHE,
        Symptom.CACHE_INEFFICIENCY,
        of_wait(signals.before_first_token_share),
        round(signals.certainty * 0.5, 2),
        signals.window.target,
        f"The prefix cache is off, and {share:.0%} of the computed tokens are prompts'; "
        "where prompts begin alike they would not be computed again.",
        (
            Evidence(
                Metric.PROMPT_TOKENS_COMPUTED, "share of the tokens", share, limits.reading_share, "few prompt tokens"
            ),
            Evidence(Metric.PREFIX_HITS, "with the cache off", 0.0, 0.0, "prompts that never begin alike"),
        ),
    )
