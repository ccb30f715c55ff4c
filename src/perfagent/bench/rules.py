"""The baseline: what a dashboard's alert rules would name, one threshold each, most telling first.

Round numbers that one would try first; none is fitted to anything.
"""

from collections.abc import Mapping

from perfagent.bench.scenario import NONE
from perfagent.domain.finding import Cause


def said_by_rules(figures: Mapping[str, float]) -> str:
    """A cause, or `none`, from the main figures of a diagnosis; a figure that is not known breaks no rule."""
    for name, limit, cause in _RULES:
        if figures.get(name, 0.0) > limit:
            return cause.value
    return NONE


_RULES = (
    ("preemptions_per_min", 0.0, Cause.KV_CAPACITY),
    ("kv_usage_mean_ratio", 0.9, Cause.KV_CAPACITY),
    ("waiting_mean", 0.0, Cause.BATCH_LIMIT),
    ("ttft_mean_s", 1.0, Cause.PREFILL_BUDGET),
    ("itl_mean_s", 0.05, Cause.DECODE_BANDWIDTH),
)
