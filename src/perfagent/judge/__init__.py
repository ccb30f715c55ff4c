"""Baseline and canary → a judgement per metric → a verdict."""

from perfagent.judge.criteria import criteria_for
from perfagent.judge.stage import Measured, decide

__all__ = ["Measured", "criteria_for", "decide"]
