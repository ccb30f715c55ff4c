"""Baseline and canary → a judgement per metric → a verdict."""
