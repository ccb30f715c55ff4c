"""How much history is kept unless somebody says otherwise."""

RETENTION_S = 6 * 3600.0
"""Long enough for a canary's own past to be part of its baseline through a rollout of hours."""

MAX_PER_TARGET = 5_000
"""Snapshots of one replica: six hours at one scrape every 4.3 s."""

THINNED_EVERY_S = 3600.0
"""Of each hour the first snapshot of a replica is kept longer: counters need no more to tell what an hour held."""

THINNED_FOR_S = 15 * 24 * 3600.0
"""Two weeks and a day: the same hour of the week twice, and the three days of the longest alert."""
