"""From a request and what was found out about the service to the plan: exactly what will be done, to which replicas."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Change, EffectiveConfig
from perfagent.domain.metric import Metric
from perfagent.domain.policy import Policy
from perfagent.domain.proposal import Proposal
from perfagent.domain.quality import Quality
from perfagent.domain.service import Service
from perfagent.domain.slo import SloStatus
from perfagent.domain.verdict import Look, Outlook, Quiet
from perfagent.engines import alters_answers, check, spell
from perfagent.judge import criteria_for
from perfagent.judge.compare import LEAST_WINDOWS
from perfagent.judge.preflight import CANNOT_DECIDE, outlook
from perfagent.judge.quality import shipped_prompts
from perfagent.workflows.consent import asked_for
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
    proposals: tuple[Proposal, ...]
    """The changes that the agent itself would make, best first."""
    reason: str = ""
    """Why there is no proposal."""
    objectives: tuple[SloStatus, ...] = ()
    """How the service stands to each of its objectives now."""


Surveyor = Callable[[Service], Awaitable[Survey]]


def make_plan(
    request: Request, service: Service, survey: Survey, pace: Pace, prompts: tuple[str, ...] = ()
) -> Plan | None:
    """The plan, or None when there is nothing to change. `prompts` are asked where the service has none of its own,
    and where there are none at all the set that ships.

    Replicas change in the order of their ids. Raises `InvalidInput` for a change that this engine or release does not
    take or whose effect could not be judged, and for stages that do not widen.
    """
    proposal = _chosen(request, service.policy, survey)
    change = request.change if request.change is not None else proposal and proposal.change
    if not change or all(survey.config.value(knob) == value for knob, value in change):
        return None
    check(service.engine, change, survey.config)
    criteria = criteria_for(proposal, survey.available)
    if not criteria:
        raise InvalidInput(f"service {service.id} exports no metric by which a change could be judged")
    release = survey.config.release or service.release
    altering = tuple(
        f"{knob} may alter answers" for knob, value in change if alters_answers(service.engine, knob, value)
    )
    reasons = asked_for(service.policy, change, altering, proposal, survey.objectives)
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
        risks=proposal.risks if proposal else altering,
        needs_approval=bool(reasons),
        criteria=criteria,
        stages=_stages(service),
        pace=pace,
        cause=proposal.cause if proposal else None,
        asked_for=reasons,
        quality=_asked(service.policy.quality, prompts) if altering else None,
    )


def nothing_to_do(request: Request, service: Service, survey: Survey) -> str:
    """Why there is no plan."""
    beyond = [said for proposal in survey.proposals for said in service.policy.beyond(proposal.change)]
    if request.change is None and beyond:
        return f"what would help lies beyond the policy's bounds, so a person has to ask for it: {'; '.join(beyond)}"
    return survey.reason or "the service already runs with this configuration"


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


def _chosen(request: Request, policy: Policy, survey: Survey) -> Proposal | None:
    """The proposal that is asked for, or the best within the policy's bounds where none is named."""
    if request.change is not None:
        return next((each for each in survey.proposals if each.change == request.change), None)
    return next((each for each in survey.proposals if not policy.beyond(each.change)), None)


def _asked(quality: Quality, prompts: tuple[str, ...]) -> Quality:
    return quality if quality.prompts else replace(quality, prompts=prompts or shipped_prompts())


def _listed(change: Change) -> str:
    return ", ".join(f"{knob} = {value}" for knob, value in change)


def _stages(service: Service) -> tuple[PlannedStage, ...]:
    order = sorted(target.id for target in service.targets)
    shares = service.policy.stages
    if not order or not shares or any(a.percent >= b.percent for a, b in pairwise(shares)):
        raise InvalidInput(f"service {service.id} needs replicas, and stages that widen from one to the next")
    return tuple(
        PlannedStage(share.percent, share.actual_percent(len(order)), tuple(order[: share.of(len(order))]))
        for share in shares
    )


def paced(request: Request, policy: Policy, pace: Pace, scrape_s: float) -> Pace:
    """The pace with what the request and the policy ask for; windows hold several scrapes."""
    possible = int(request.monitoring_s / (SCRAPES_PER_WINDOW * scrape_s))
    return replace(
        pace,
        monitoring_s=request.monitoring_s,
        warm_up_s=WARM_UP_SHARE * request.monitoring_s,
        windows=max(LEAST_WINDOWS, min(pace.windows, possible)),
        approval_timeout_s=policy.approval_timeout_s,
        max_unready=policy.max_unready,
    )
