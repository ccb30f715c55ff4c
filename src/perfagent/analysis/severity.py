"""How bad a finding is: by the share of a request's life that it costs."""

from perfagent.domain.finding import Severity


def of_wait(share: float | None) -> Severity:
    """Severity of waiting for room, from the share of a request's life spent waiting (None = not measured: medium)."""
    if share is None:
        return Severity.MEDIUM
    if share >= 0.5:
        return Severity.CRITICAL
    if share >= 0.25:
        return Severity.HIGH
    return Severity.MEDIUM if share >= 0.1 else Severity.LOW
