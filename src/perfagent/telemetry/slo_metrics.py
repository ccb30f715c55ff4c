"""Burn rates and alerts of every service as gauges, worked out when somebody asks, and not often."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from perfagent.domain.errors import NotFound
from perfagent.domain.slo import AlertSeverity, ErrorBudget, window_name
from perfagent.loop import Agent


class BurnRateFigures(Collector):
    """One service per reading, the one that was looked at longest ago, unless that was within `refresh_s`."""

    def __init__(self, agent: Agent, refresh_s: float) -> None:
        self._agent = agent
        self._refresh_s = refresh_s
        self._known: dict[str, tuple[float, tuple[ErrorBudget, ...]]] = {}

    def describe(self) -> Iterable[Metric]:
        """Nothing up front: reading the agent merely to learn names would work out burn rates at start."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All figures, as they were at the last look."""
        self._look()
        rates = GaugeMetricFamily(
            "perfagent_slo_burn_rate",
            "Share of bad events / error budget; absent where nothing happened.",
            labels=("service", "objective", "window"),
        )
        alerts = GaugeMetricFamily(
            "perfagent_slo_alert",
            "1 while an alert of this severity fires.",
            labels=("service", "objective", "severity"),
        )
        for service_id, (_, budgets) in self._known.items():
            # an objective that was given twice is one
            for name, budget in {each.objective.name: each for each in budgets if each.alerts}.items():
                for window, rate in _rates(budget).items():
                    rates.add_metric((service_id, name, window), rate)
                for severity in AlertSeverity:
                    firing = any(alert.firing for alert in budget.alerts if alert.rule.severity is severity)
                    alerts.add_metric((service_id, name, severity), float(firing))
        yield rates
        yield alerts

    def _look(self) -> None:
        now_s = self._agent.now()
        services = [service.id for service in self._agent.services.list()]
        known = {each: self._known.get(each, (float("-inf"), ())) for each in services}
        oldest = min(known, key=lambda each: known[each][0], default=None)
        if oldest is not None and now_s - known[oldest][0] >= self._refresh_s:
            try:
                known[oldest] = (now_s, self._agent.burn_rates(oldest))
            except NotFound:
                known[oldest] = (now_s, ())
        self._known = known


def _rates(budget: ErrorBudget) -> dict[str, float]:
    """By window. Where one rule's long window is another's short one, the long one counts: it has more samples."""
    burns = [*(alert.short for alert in budget.alerts), *(alert.long for alert in budget.alerts)]
    return {window_name(burn.window_s): burn.rate for burn in burns if burn.rate is not None}
