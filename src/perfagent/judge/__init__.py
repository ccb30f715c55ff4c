"""Baseline and canary → a judgement per metric → a verdict."""

from perfagent.judge.criteria import criteria_for
from perfagent.judge.stage import StageRule, judge_stage

__all__ = ["StageRule", "criteria_for", "judge_stage"]
