"""How a service stands to its objectives, how fast it spends their error budgets, and the alerts that this raises."""

from fastapi import APIRouter

from perfagent.analysis import service_slo_status
from perfagent.analysis.burn_rate import PERIOD_S, SOURCE
from perfagent.api.fields import Model, SloOut
from perfagent.api.parts import TheAgent
from perfagent.api.problems import documented
from perfagent.api.services import ServicePath
from perfagent.domain.errors import NotFound, NotScraped, StoreFailed
from perfagent.domain.slo import Alert, AlertSeverity, BurnRate, ErrorBudget, SloStatus
from perfagent.loop import View

router = APIRouter(prefix="/services", tags=["services"])


class BurnRateOut(Model):
    """How fast an error budget was spent over a window."""

    covers_s: float
    """How much of the window is recorded; the figures are over this part."""
    events: float
    bad_events: float
    burn_rate: float | None
    """Share of bad events / error budget; null where there were no events."""

    @classmethod
    def of(cls, burn: BurnRate) -> "BurnRateOut":
        """A burn rate as callers see it."""
        return cls(covers_s=burn.covers_s, events=burn.events, bad_events=burn.bad, burn_rate=burn.rate)


class AlertOut(Model):
    """A rule that fires while the budget burns at least `factor` times as fast as it may over both windows."""

    severity: AlertSeverity
    long_s: float
    short_s: float
    factor: float
    long: BurnRateOut
    short: BurnRateOut
    firing: bool
    reason: str

    @classmethod
    def of(cls, alert: Alert) -> "AlertOut":
        """An alert as callers see it."""
        return cls(
            severity=alert.rule.severity,
            long_s=alert.rule.long_s,
            short_s=alert.rule.short_s,
            factor=alert.rule.factor,
            long=BurnRateOut.of(alert.long),
            short=BurnRateOut.of(alert.short),
            firing=alert.firing,
            reason=alert.reason,
        )


class ObjectiveOut(Model):
    """One objective."""

    objective: str
    """Its name, as in the labels of our own metrics."""
    status: SloOut
    """How it is kept in the current window."""
    error_budget: float | None
    """Share of events that may be bad; null where the objective has no error budget."""
    alerts: tuple[AlertOut, ...]
    """None without an error budget."""
    reason: str
    """Why there is no error budget, or at which bucket edge it is counted; empty where there is nothing to tell."""

    @classmethod
    def of(cls, status: SloStatus, budget: ErrorBudget) -> "ObjectiveOut":
        """An objective as callers see it."""
        return cls(
            objective=budget.objective.name,
            status=SloOut.of(status),
            error_budget=budget.budget,
            alerts=tuple(AlertOut.of(alert) for alert in budget.alerts),
            reason=budget.reason,
        )


class SlosOut(Model):
    """How a service stands to the objectives it was registered with, in their order."""

    service: str
    period_s: float
    """The time for which an error budget is meant: a burn rate of 1 spends it in just this time."""
    source: str
    """Where the rules of the alerts come from."""
    slos: tuple[ObjectiveOut, ...]

    @classmethod
    def of(cls, view: View, budgets: tuple[ErrorBudget, ...]) -> "SlosOut":
        """A service's objectives as callers see them."""
        return cls(
            service=view.service.id,
            period_s=PERIOD_S,
            source=SOURCE,
            slos=tuple(
                ObjectiveOut.of(service_slo_status(view.windows, budget.objective), budget) for budget in budgets
            ),
        )


@router.get("/{service_id}/slos", responses=documented(NotFound, NotScraped, StoreFailed))
async def get_slos(service_id: ServicePath, agent: TheAgent) -> SlosOut:
    """How it keeps its objectives now, how fast it spends their error budgets, and which alerts fire."""
    return SlosOut.of(agent.view(service_id), agent.burn_rates(service_id))
