"""`overload`: more comes in than this hardware can serve, however it is set.

Steps with more tokens than the ridge take as much longer as they hold more, so neither seats nor KV cache nor a larger
budget would serve more: what waits, waits for arithmetic. Requests that wait although steps have room wait for
something else. With the prefix cache switched off, nobody knows how much of the work could be spared.
"""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.severity import of_wait
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Symptom
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric
from perfagent.domain.window import increase


def overload(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """A queue that stands, behind steps that are full of arithmetic."""
    share, step, wait_share = signals.standing_share, signals.step_queueing, signals.wait_share
    if share is None or share < limits.queueing_share or step is None or not hardware_is_full(signals, limits):
        return None
    if wait_share is not None and wait_share < limits.wait_share and _turned_away(signals) < limits.error_share:
        return None
    if signals.config.value(Knob.ENABLE_PREFIX_CACHING) is False:
        return None
    arrivals, served, waiting = signals.arrivals_per_s, signals.finished_per_s, signals.waiting_mean or 0.0
    evidence = [
        Evidence(Metric.STEP_TOKENS, "tokens per step while others wait", step, limits.computing_tokens, "small steps"),
        Evidence(Metric.WAITING, "mean while busy", waiting, 1.0, "nobody waiting at most scrapes"),
    ]
    told = f"{waiting:.0f} requests wait behind steps of {step:.0f} tokens, which take as long as their arithmetic"
    if arrivals is not None and served is not None and arrivals > served:
        evidence.append(
            Evidence(Metric.FINISHED, "served per second, of those that arrive", served, arrivals, "as many as arrive")
        )
        told += f"; {arrivals:.2f} requests/s arrive and {served:.2f} are served"
    return Finding(
        Cause.OVERLOAD,
        Symptom.QUEUE_BUILDUP,
        of_wait(wait_share),
        round(signals.certainty * 0.8, 2),
        signals.window.target,
        f"{told}.",
        tuple(evidence),
    )


def _turned_away(signals: Signals) -> float:
    """Share of the requests that were refused: they wait for nothing, and shorten the queue for the rest."""
    refused, finished = (increase(signals.window, metric) or 0.0 for metric in (Metric.REJECTED, Metric.FINISHED))
    return refused / (refused + finished) if refused else 0.0


def hardware_is_full(signals: Signals, limits: Limits = LIMITS) -> bool:
    """Whether steps hold so much while others wait that more of anything would only make them longer."""
    step = signals.step_queueing
    return step is not None and step >= limits.computing_tokens
