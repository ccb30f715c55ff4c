"""A model of one continuous-batching engine, fitted to its live metrics: what would this change do?

`Replica` plays requests against `SchedulerRules` with a `StepTime`; `fit` finds the step time in metrics alone.
"""

from perfagent.twin.observer import Finished, Observer
from perfagent.twin.rules import SchedulerRules
from perfagent.twin.scheduler import Replica
from perfagent.twin.step_time import Pace, StepTime
from perfagent.twin.workload import Lengths, Request, SharedPrefixes, Workload

__all__ = [
    "Finished",
    "Lengths",
    "Observer",
    "Pace",
    "Replica",
    "Request",
    "SchedulerRules",
    "SharedPrefixes",
    "StepTime",
    "Workload",
]
