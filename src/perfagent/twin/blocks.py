"""The engine's KV blocks as a queue of free ones, without a list of blocks.

Freed blocks join the tail of the queue, needed ones leave its head, so content survives until everything freed before
it is used up: that is vLLM's least-recently-freed eviction. Content worth finding again is *parked*: a range of queue
positions. It has survived as far as the head has not passed it, which makes taking and freeing O(1) in blocks.
"""

from bisect import insort
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parked:
    """Blocks in the free queue that still hold content; the content's tail comes first, so it is lost first."""

    start: int
    count: int


class BlockPool:
    """`capacity` blocks, of which `free` can be taken."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.free = capacity
        self._head = 0
        self._tail = capacity
        self._holes: list[tuple[int, int]] = []  # [start, end) of parked blocks that were reclaimed

    def take(self, count: int) -> None:
        """Takes from the head; the content of what is taken is lost."""
        if count > self.free:
            raise ValueError(f"{count} blocks asked for, {self.free} free")
        self.free -= count
        head = self._head + count
        while self._holes and self._holes[0][0] < head:
            start, end = self._holes.pop(0)
            head += end - start
        self._head = head

    def give_back(self, count: int) -> None:
        """Frees blocks whose content nobody will ask for."""
        self.free += count
        self._tail += count

    def park(self, count: int) -> Parked:
        """Frees blocks whose content may be asked for again."""
        parked = Parked(self._tail, count)
        self.give_back(count)
        return parked

    def surviving(self, parked: Parked) -> int:
        """How many leading blocks of the content can still be reclaimed."""
        return min(parked.count, max(0, parked.start + parked.count - self._head))

    def reclaim(self, parked: Parked, count: int) -> None:
        """Takes the content's leading `count` blocks out of the middle of the queue; the rest stays free."""
        if not count:
            return
        if count > self.surviving(parked):
            raise ValueError(f"{count} blocks asked for, {self.surviving(parked)} survive")
        end = parked.start + parked.count
        insort(self._holes, (end - count, end))
        self.free -= count
        while self._holes and self._holes[0][0] <= self._head:
            self._head = max(self._head, self._holes.pop(0)[1])
