"""`speculation_waste`: drafted tokens are checked and thrown away, and hardly any answer token comes of them.

Checking drafts costs little while few requests run, and more the more do. Source: vLLM's guide to speculative decoding,
whose gains shrink as the load grows.
"""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Severity, Symptom
from perfagent.domain.metric import Metric
from perfagent.domain.window import increase


def speculation_waste(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """More drafted tokens are refused than tokens are generated, and few of those generated were drafts."""
    drafted, accepted = (increase(signals.window, metric) for metric in (Metric.DRAFT_TOKENS, Metric.ACCEPTED_TOKENS))
    generated = increase(signals.window, Metric.GENERATION_TOKENS)
    if drafted is None or accepted is None or not generated or generated < limits.tokens_for_a_share:
        return None
    refused, gained = (drafted - accepted) / generated, accepted / generated
    if refused < limits.refused_drafts or gained >= limits.accepted_drafts:
        return None
    running = signals.running_mean or 0.0
    return Finding(
        Cause.SPECULATION_WASTE,
        Symptom.LOW_THROUGHPUT,
        Severity.MEDIUM if running >= limits.decode_batch else Severity.LOW,
        round(signals.certainty * 0.9, 2),
        signals.window.target,
        f"For each token generated {refused:.1f} drafted ones are refused, and {gained:.0%} of the tokens were drafts; "
        f"{running:.0f} requests run.",
        (
            Evidence(
                Metric.DRAFT_TOKENS, "refused per token generated", refused, limits.refused_drafts, "few refused drafts"
            ),
            Evidence(
                Metric.ACCEPTED_TOKENS,
                "per token generated",
                gained,
                limits.accepted_drafts,
                "a tenth or more accepted",
            ),
        ),
    )
