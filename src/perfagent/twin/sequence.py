"""A request while the engine works on it: the replica's own bookkeeping."""

import enum
from dataclasses import dataclass

from perfagent.twin.blocks import Parked
from perfagent.twin.workload import Request


class Stage(enum.Enum):
    """Where a request stands."""

    UPCOMING = enum.auto()
    WAITING = enum.auto()
    PREFILLING = enum.auto()
    DECODING = enum.auto()
    DRAINING = enum.auto()  # its last token is in a planned step; it still holds slot and blocks
    GONE = enum.auto()


@dataclass(slots=True, eq=False)
class Sequence:
    """One request's progress. While it decodes, its context follows from the batch's clock, not from fields here."""

    request: Request
    stage: Stage = Stage.UPCOMING
    produced: int = 0  # tokens planned before the present run; after preemption they are recomputed like a prompt
    computed: int = 0  # tokens with attention state
    blocks: int = 0  # all blocks held, shared ones included
    shared_blocks: int = 0  # the leading ones that belong to the prefix
    parked: Parked | None = None  # own blocks left in the cache by preemption
    parked_behind: int = 0  # how many shared blocks stood before them
    delivered: bool = False  # the present run's first token is out
    joined_clock: int = 0
    joined_context: int = 0
    due_clock: int = 0
    queued_s: float = 0.0
    scheduled_s: float | None = None
    first_token_s: float | None = None
    last_token_s: float = 0.0

    @property
    def tokens_to_compute(self) -> int:
        """The prompt, and after preemption whatever was produced since."""
        return self.request.prompt_tokens + self.produced
