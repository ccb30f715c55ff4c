"""From a request and what was found out about the service to the plan: exactly what will be done, to which replicas."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Change, EffectiveConfig
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import Proposal
from perfagent.domain.quality import Quality
from perfagent.domain.service import Service
from perfagent.domain.verdict import Look, Outlook, Quiet
from perfagent.engines import alters_answers, check, spell
from perfagent.judge import criteria_for
from perfagent.judge.compare import LEAST_WINDOWS
from perfagent.judge.preflight import CANNOT_DECIDE, outlook
from perfagent.judge.quality import shipped_prompts
from perfagent.workflows.model import Pace, Plan, PlannedStage, Request
from perfagent.workflows.observation import past_length_s, stage_rule

WARM_UP_SHARE = 0.1
"""Warm-up as a share of the monitoring time: cut off, and told in the record of every stage."""

SCRAPES_PER_WINDOW = 3
"""Scrapes that an observation window should hold, so that a lost one costs no window."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found out about a service before a plan is made."""

    config: EffectiveConfig
    available: frozenset[Metric]
    """What its replicas export."""
    proposal: Proposal | None
    """The change that the agent itself would make."""
    reason: str = ""
    """Why there is no proposal."""


Surveyor = Callable[[Service], Awaitable[Survey]]


def make_plan(
    request: Request, service: Service, survey: Survey, pace: Pace, prompts: tuple[str, ...] = ()
) -> Plan | None:
    """The plan, or None when there is nothing to change. `prompts` are asked where the service has none of its own,
    and where there are none at all the set that ships.

    Replicas change in the order of their ids. Raises `InvalidInput` for a change that this engine or release does not
    take or whose effect could not be judged, and for stages that do not widen.
    """
    proposal = survey.proposal if request.change in (None, survey.proposal and survey.proposal.change) else None
    change = request.change if request.change is not None else proposal and proposal.change
    if not change or all(survey.config.value(knob) == value for knob, value in change):
        return None
    check(service.engine, change, survey.config)
    criteria = criteria_for(proposal, survey.available)
    if not criteria:
        raise InvalidInput(f"service {service.id} exports no metric by which a change could be judged")
    release = survey.config.release or service.release
    altering = [knob for knob, value in change if alters_answers(service.engine, knob, value)]
    return Plan(
        service=service.id,
        engine=service.engine,
        release=release,
        actuator=service.actuator,
        targets=tuple(sorted(service.targets, key=lambda target: target.id)),
        change=change,
        prior=tuple((knob, value) for knob, _ in change if (value := survey.config.value(knob)) is not None),
        flags=spell(service.engine, change, release),
        description=proposal.description if proposal else f"{_listed(change)}, as {request.requested_by} asks",
        effects=proposal.effects if proposal else (),
        risks=proposal.risks if proposal else tuple(f"{knob} may alter answers" for knob in altering),
        needs_approval=_needs_approval(service, altering=bool(altering or (proposal and proposal.needs_approval))),
        criteria=criteria,
        stages=_stages(service),
        pace=pace,
        cause=proposal.cause if proposal else None,
        quality=_asked(service.policy.quality, prompts) if altering else None,
    )


def foreseen(plan: Plan, quiet: Quiet) -> tuple[Outlook, ...]:
    """What each stage of a plan will be able to tell on a service this noisy."""
    looks = Look(1, 1 + plan.pace.extensions, len(plan.stages))
    before = joined = 0
    found = []
    for index, stage in enumerate(plan.stages):
        changed = len(stage.targets)
        before, joined = changed, (changed - before) or joined
        others = len(plan.targets) - changed
        found.append(
            outlook(
                plan.criteria,
                quiet,
                percent=stage.percent,
                rule=stage_rule(plan.stages, index),
                replicas=(changed if others else joined, others),
                observed_s=plan.pace.monitoring_s,
                past_s=past_length_s(plan.pace),
                warm_up_s=plan.pace.warm_up_s,
                look=looks,
            )
        )
    return tuple(found)


def check_decidable(plan: Plan) -> None:
    """Raise `InvalidInput` for a plan of which the service's own past says that a stage could hardly ever decide.

    That is reckoned for a change that makes no difference, so it is no objection where a difference is predicted: a
    service that needs a change most is often the noisiest.
    """
    for each in () if plan.effects else plan.outlook:
        if not each.assumed and each.hold_chance > CANNOT_DECIDE:
            raise InvalidInput(
                f"this plan cannot decide: at {each.percent} % a change that makes no difference would be held with a "
                f"chance of {each.hold_chance:.0%}, most likely for the sake of {each.weakest}; monitor longer, or "
                "promote by hand (without auto_rollout)"
            )


def _asked(quality: Quality, prompts: tuple[str, ...]) -> Quality:
    return quality if quality.prompts else replace(quality, prompts=prompts or shipped_prompts())


def _listed(change: Change) -> str:
    return ", ".join(f"{knob} = {value}" for knob, value in change)


def _needs_approval(service: Service, *, altering: bool) -> bool:
    return service.policy.approval == "always" or (altering and service.policy.approval != "never")


def _stages(service: Service) -> tuple[PlannedStage, ...]:
    order = sorted(target.id for target in service.targets)
    shares = service.policy.stages
    if not order or not shares or any(a.percent >= b.percent for a, b in pairwise(shares)):
        raise InvalidInput(f"service {service.id} needs replicas, and stages that widen from one to the next")
    return tuple(
        PlannedStage(share.percent, share.actual_percent(len(order)), tuple(order[: share.of(len(order))]))
        for share in shares
    )


def paced(request: Request, pace: Pace, scrape_s: float) -> Pace:
    """The pace with what the request asks for; windows hold several scrapes."""
    possible = int(request.monitoring_s / (SCRAPES_PER_WINDOW * scrape_s))
    return replace(
        pace,
        monitoring_s=request.monitoring_s,
        warm_up_s=WARM_UP_SHARE * request.monitoring_s,
        windows=max(LEAST_WINDOWS, min(pace.windows, possible)),
    )
