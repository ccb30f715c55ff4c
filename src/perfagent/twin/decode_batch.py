"""Decoding sequences, kept as sums: each step gives every one of them a token.

A sequence's context grows with the batch's clock, so it is stored once, when the sequence joins. Which sequences need
a block in a step follows from (context − clock) mod block size, which never changes: a histogram of it suffices.
Those that finish are listed under the clock they finish at. A step costs the same for 4 sequences and 400.
"""

from perfagent.twin.sequence import Sequence


class DecodeBatch:
    """`size` sequences with `context_tokens` between them, after `clock` decode steps."""

    def __init__(self, block_size: int) -> None:
        self.size = 0
        self.context_tokens = 0
        self.tokens_to_come = 0
        self.clock = 0
        self._block_size = block_size
        self._phases = [0] * block_size
        self._due: dict[int, list[Sequence]] = {}

    def join(self, sequence: Sequence, remaining: int) -> None:
        """A computed prompt starts decoding; it produces `remaining` (≥ 1) more tokens, one per step."""
        sequence.joined_clock = self.clock
        sequence.joined_context = sequence.computed
        sequence.due_clock = self.clock + remaining
        self.size += 1
        self.context_tokens += sequence.computed
        self.tokens_to_come += remaining
        self._phases[(sequence.computed - self.clock) % self._block_size] += 1
        self._due.setdefault(sequence.due_clock, []).append(sequence)

    def blocks_needed(self, ahead: int = 0) -> int:
        """New blocks that the next step takes, or one so many steps later with the same sequences."""
        return self._phases[-(self.clock + ahead) % self._block_size]

    @property
    def steps_to_first_due(self) -> int:
        """How many steps complete nobody; there must be sequences."""
        return min(self._due) - self.clock - 1

    def tick(self, steps: int = 1) -> None:
        """So many tokens for everyone."""
        self.clock += steps
        self.context_tokens += steps * self.size
        self.tokens_to_come -= steps * self.size

    def step(self) -> tuple[Sequence, ...]:
        """One token for everyone; returns those that are complete, which have left."""
        self.tick()
        complete = tuple(self._due.pop(self.clock, ()))
        for sequence in complete:
            self._take_out(sequence)
        return complete

    def leave(self, sequence: Sequence) -> None:
        """A preempted or cancelled sequence goes; its tokens so far are booked as produced."""
        due = self._due[sequence.due_clock]
        due.remove(sequence)
        if not due:
            del self._due[sequence.due_clock]
        self.tokens_to_come -= sequence.due_clock - self.clock
        sequence.produced += 1 + self.clock - sequence.joined_clock
        self._take_out(sequence)

    def _take_out(self, sequence: Sequence) -> None:
        sequence.computed = sequence.joined_context + self.clock - sequence.joined_clock
        sequence.blocks = -(-sequence.computed // self._block_size)
        self.size -= 1
        self.context_tokens -= sequence.computed
        self._phases[(sequence.computed - self.clock) % self._block_size] -= 1
