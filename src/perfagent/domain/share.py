"""A share of a fleet is a value that knows rounding: 10 % of 4 replicas is 1 replica, and the record says 25 %."""

from dataclasses import dataclass
from math import ceil

from perfagent.domain.errors import InvalidInput


@dataclass(frozen=True, slots=True, order=True)
class Share:
    """A wished percentage, 1 to 100. At least one replica is always meant."""

    percent: int

    def __post_init__(self) -> None:
        if not 1 <= self.percent <= 100:
            raise InvalidInput(f"a share lies between 1 and 100 %, not at {self.percent}")

    def of(self, replicas: int) -> int:
        """How many of `replicas` carry the change: rounded up, but all of them only at 100 % or when there is one."""
        if replicas < 1:
            raise InvalidInput("a share needs at least one replica")
        wished = ceil(replicas * self.percent / 100)
        return wished if self.percent == 100 else min(wished, max(1, replicas - 1))

    def actual_percent(self, replicas: int) -> float:
        """What the rounding made of the wish."""
        return 100 * self.of(replicas) / replicas
