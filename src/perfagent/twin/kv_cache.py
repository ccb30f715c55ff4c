"""Who holds which KV blocks: prompts as they are computed, shared prefixes, and what preemption leaves behind.

A shared prefix's blocks are held as one while any sequence uses them, and parked when the last one lets go.
Prompts are unique beyond their prefix, so the only other content worth finding again is a preempted sequence's own.
"""

from dataclasses import dataclass
from typing import NamedTuple

from perfagent.twin.blocks import BlockPool, Parked
from perfagent.twin.sequence import Sequence


class Hit(NamedTuple):
    """Blocks of a waiting sequence that need not be computed."""

    shared: int
    own: int


@dataclass(slots=True)
class _Prefix:
    blocks: int = 0
    users: int = 0
    parked: Parked | None = None


class KvCache:
    """Blocks of one replica, and the sequences they belong to."""

    def __init__(self, blocks: int, block_size: int, *, prefix_caching: bool) -> None:
        self.pool = BlockPool(blocks)
        self._block_size = block_size
        self._caching = prefix_caching
        self._prefixes: dict[str, _Prefix] = {}

    @property
    def usage(self) -> float:
        """Share of blocks in use, 0–1; cached blocks that nobody uses are free."""
        return 1 - self.pool.free / self.pool.capacity

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold so many tokens of one sequence."""
        return -(-tokens // self._block_size)

    def lookup(self, sequence: Sequence) -> Hit:
        """What the cache holds of a waiting sequence; at least its last token is computed anew."""
        if not self._caching:
            return Hit(0, 0)
        most = (sequence.tokens_to_compute - 1) // self._block_size
        prefix = self._prefixes.get(sequence.request.prefix_id or "")
        shared = 0
        if prefix is not None:
            shared = min(self._cached(prefix), most, sequence.request.prefix_tokens // self._block_size)
        own = 0
        if sequence.parked is not None and sequence.parked_behind == shared:
            own = min(self.pool.surviving(sequence.parked), most - shared)
        return Hit(shared, own)

    def needed(self, sequence: Sequence, hit: Hit) -> int:
        """Free blocks that the whole sequence so far takes; a hit on blocks in use takes none."""
        prefix = self._prefixes.get(sequence.request.prefix_id or "")
        in_use = hit.shared if prefix is not None and prefix.users else 0
        return self.blocks_for(sequence.tokens_to_compute) - in_use

    def enter(self, sequence: Sequence, hit: Hit) -> None:
        """Gives an admitted sequence its hits."""
        if self._caching and sequence.request.prefix_id is not None:
            self._forget()
            prefix = self._prefixes.setdefault(sequence.request.prefix_id, _Prefix())
            if prefix.parked is not None:
                self.pool.reclaim(prefix.parked, hit.shared)
                prefix.blocks, prefix.parked = hit.shared, None
            prefix.users += 1
        if sequence.parked is not None:
            self.pool.reclaim(sequence.parked, hit.own)
            sequence.parked = None
        sequence.shared_blocks = hit.shared
        sequence.blocks = hit.shared + hit.own
        sequence.computed = sequence.blocks * self._block_size

    def grow(self, sequence: Sequence, computed: int) -> bool:
        """Makes room for a prompt up to `computed` tokens; False when there is none."""
        more = self.blocks_for(computed) - sequence.blocks
        if more > self.pool.free:
            return False
        self.pool.take(more)
        sequence.blocks += more
        sequence.computed = computed
        if self._caching and sequence.request.prefix_id is not None:
            self._contribute(sequence, self._prefixes[sequence.request.prefix_id])
        return True

    def release(self, sequence: Sequence) -> None:
        """Frees everything of a finished or cancelled sequence."""
        self.pool.give_back(sequence.blocks - sequence.shared_blocks)
        self._let_go(sequence)

    def set_aside(self, sequence: Sequence) -> None:
        """Frees everything of a preempted sequence; what the cache keeps may be found again."""
        whole = sequence.computed // self._block_size - sequence.shared_blocks
        self.pool.give_back(sequence.blocks - sequence.shared_blocks - whole)
        sequence.parked = self.pool.park(whole)
        sequence.parked_behind = sequence.shared_blocks
        self._let_go(sequence)

    def _forget(self) -> None:
        """Drops the names of prefixes that are gone; those still there have a block each, so names stay bounded."""
        if len(self._prefixes) > 2 * self.pool.capacity:
            kept = {name: prefix for name, prefix in self._prefixes.items() if prefix.users or self._cached(prefix)}
            self._prefixes = kept

    def _cached(self, prefix: _Prefix) -> int:
        return prefix.blocks if prefix.parked is None else self.pool.surviving(prefix.parked)

    def _contribute(self, sequence: Sequence, prefix: _Prefix) -> None:
        """A sequence that holds all of the prefix so far adds the blocks it completes; any other keeps a copy."""
        complete = min(sequence.computed, sequence.request.prefix_tokens) // self._block_size
        if sequence.shared_blocks == prefix.blocks < complete:
            prefix.blocks = sequence.shared_blocks = complete

    def _let_go(self, sequence: Sequence) -> None:
        if self._caching and sequence.request.prefix_id is not None:
            prefix = self._prefixes[sequence.request.prefix_id]
            prefix.users -= 1
            if not prefix.users:
                prefix.parked = self.pool.park(prefix.blocks)
        sequence.blocks = sequence.shared_blocks = sequence.computed = 0
