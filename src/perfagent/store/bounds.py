"""How much history is kept unless somebody says otherwise."""

RETENTION_S = 6 * 3600.0
"""Long enough for a canary's own past to be part of its baseline through a rollout of hours."""

MAX_PER_TARGET = 5_000
"""Snapshots of one replica: six hours at one scrape every 4.3 s."""
