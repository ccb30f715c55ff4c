"""Windows → findings: one detector per cause, ranked; SLO status; the health score."""
