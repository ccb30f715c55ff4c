"""`replica_outlier`: one replica is slower than its peers although it does no more: its machine, not its settings.

A fleet is never tuned for it. What is compared are the means of one window. A replica that delivers more is slower by
right; how many requests it runs says nothing, for those of a slow one pile up.
"""

from collections.abc import Sequence
from statistics import median

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.spread import robust_sd
from perfagent.domain.finding import Cause, Diagnosis, Evidence, Finding, Severity, Symptom
from perfagent.domain.metric import Metric

_NEEDED = {"itl_mean_s", "throughput_tok_s"}


def replica_outliers(diagnoses: Sequence[Diagnosis], limits: Limits = LIMITS) -> list[Finding]:
    """Replicas whose gap between tokens stands out. Few tokens make no mean, so replicas that hardly work are left out.

    The time to first token is not compared: prompts and what caches hold of them differ from replica to replica.
    """
    working = [each for each in diagnoses if _tokens(each) >= limits.tokens_for_a_mean]
    found = (_compared(one, [each for each in working if each is not one], limits) for one in working)
    return [finding for finding in found if finding is not None]


def _tokens(seen: Diagnosis) -> float:
    """Tokens generated in the window; 0 where a figure is missing."""
    known = seen.figures.keys() >= _NEEDED
    return seen.figures["throughput_tok_s"] * (seen.end_s - seen.start_s) if known else 0.0


def _compared(one: Diagnosis, peers: Sequence[Diagnosis], limits: Limits) -> Finding | None:
    if len(peers) < limits.least_peers:
        return None
    theirs = [each.figures["itl_mean_s"] for each in peers]
    value, usual = one.figures["itl_mean_s"], median(theirs)
    spread = robust_sd(each - usual for each in theirs)
    if value < limits.outlier_ratio * usual or value - usual <= limits.outlier_sds * spread:
        return None
    delivers, they_deliver = (
        one.figures["throughput_tok_s"], median(each.figures["throughput_tok_s"] for each in peers)
    )  # fmt: skip
    if delivers > limits.growth * they_deliver:
        return None
    return Finding(
        Cause.REPLICA_OUTLIER,
        Symptom.HIGH_LATENCY,
        Severity.HIGH if value >= 2 * limits.outlier_ratio * usual else Severity.MEDIUM,
        0.8,
        one.target,
        f"{one.target} alone is slow: {1000 * value:.0f} ms between tokens, its {len(peers)} peers "
        f"{1000 * usual:.0f} ms; it delivers {delivers:.0f} tokens/s, they {they_deliver:.0f} each.",
        (
            Evidence(
                Metric.ITL, "of the replica", value, limits.outlier_ratio * usual, "a replica as fast as its peers"
            ),
            Evidence(
                Metric.GENERATION_TOKENS, "tokens/s of the replica", delivers, limits.growth * they_deliver,
                "a replica that does more than its peers",
            ),
        ),
    )  # fmt: skip
