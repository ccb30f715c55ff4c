"""One continuous-batching engine, step by step.

Planning and running are apart, because an asynchronous scheduler plans a step while its predecessor runs. The
scheduler's view is therefore of planned tokens; what clients see happens when the step ends. Everything happens at
boundaries between steps: the step that ended is delivered, arrivals are taken in, the next step is planned.
"""

import math
from collections import deque
from dataclasses import dataclass

from perfagent.twin.decode_batch import DecodeBatch
from perfagent.twin.kv_cache import KvCache
from perfagent.twin.observer import Finished, Observer
from perfagent.twin.rules import SchedulerRules
from perfagent.twin.sequence import Sequence, Stage
from perfagent.twin.step_time import Pace
from perfagent.twin.workload import Request


@dataclass(slots=True)
class _Plan:
    """One step: what is in it, and who gets a first or a last token from it."""

    prompt_tokens: int = 0
    decode_tokens: int = 0
    context_tokens: int = 0
    pairs: float = 0.0
    preempted: bool = False
    newcomers: tuple[Sequence, ...] = ()  # decode for the first time since their prompt
    computed: tuple[Sequence, ...] = ()  # prompt complete: one token each
    complete: tuple[Sequence, ...] = ()  # last token
    newcomers_since_s: tuple[float, ...] = ()  # their previous tokens
    since_s: float = 0.0  # everybody else's previous token
    start_s: float = 0.0
    end_s: float = 0.0


class Replica:
    """A discrete-event model of one replica; deterministic, and the same however its time is cut into pieces."""

    def __init__(
        self, rules: SchedulerRules, step_time: Pace, observer: Observer | None = None, start_s: float = 0.0
    ) -> None:
        self.rules = rules
        self.step_time = step_time
        self.preemptions = 0
        self._seats = rules.seats
        self._observer = observer
        self._now_s = start_s
        self._boundary_s = start_s
        self._kv = KvCache(rules.kv_blocks, rules.block_size, prefix_caching=rules.prefix_caching)
        self._batch = DecodeBatch(rules.block_size)
        self._sequences: dict[str, Sequence] = {}
        self._upcoming: deque[Sequence] = deque()
        self._waiting: deque[Sequence] = deque()
        self._running: dict[str, Sequence] = {}  # in order of admission
        self._prefilling: list[Sequence] = []
        self._newcomers: list[Sequence] = []
        self._current: _Plan | None = None
        self._next: _Plan | None = None
        self._decoded_s = start_s  # end of the latest started step that decodes
        self._decoded_clock = 0  # decode steps delivered
        self._blocked = False  # the head of the queue found no room when the latest step was planned

    @property
    def now_s(self) -> float:
        """The time advanced to."""
        return self._now_s

    @property
    def running(self) -> int:
        """Requests with a place in the batch."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests the scheduler has taken in but not admitted."""
        return len(self._waiting)

    @property
    def kv_usage(self) -> float:
        """Share of KV blocks in use, 0–1; cached blocks that nobody uses are free."""
        return self._kv.usage

    @property
    def kv_reserved_tokens(self) -> float:
        """Tokens in use, and those kept back for output still to come of whoever decodes."""
        return self._kv.usage * self.kv_capacity_tokens + self.rules.reserve_output_ratio * self._batch.tokens_to_come

    @property
    def kv_capacity_tokens(self) -> int:
        """Tokens whose attention state fits."""
        return self.rules.kv_capacity_tokens

    @property
    def idle(self) -> bool:
        """Nothing to do, now or later."""
        return not self._sequences

    @property
    def next_event_s(self) -> float | None:
        """When something happens next; `advance` must be called with a later time to make it happen.

        Between steps nobody waits: with nothing running, the head of the queue always fits.
        """
        if self._current is not None:
            return self._current.end_s
        return max(self._boundary_s, self._upcoming[0].request.arrival_s) if self._upcoming else None

    def generated(self, request_id: str) -> int | None:
        """Tokens delivered so far; None when the request is unknown or finished."""
        sequence = self._sequences.get(request_id)
        if sequence is None:
            return None
        if not sequence.delivered:
            return sequence.produced
        return sequence.produced + 1 + self._decoded_clock - sequence.joined_clock

    def submit(self, request: Request) -> None:
        """Arrivals come in order of time, none before now.

        Raises ValueError for one that could never be served: longer than the KV cache, or without chunking longer
        than a step.
        """
        latest_s = self._upcoming[-1].request.arrival_s if self._upcoming else self._now_s
        if request.arrival_s < latest_s:
            raise ValueError(f"request {request.id} arrives at {request.arrival_s}, before {latest_s}")
        if request.id in self._sequences:
            raise ValueError(f"request {request.id} is already here")
        longest = request.prompt_tokens + request.output_tokens - 1
        if self._kv.blocks_for(longest) > self.rules.kv_blocks:
            raise ValueError(f"request {request.id} needs {longest} tokens of {self.kv_capacity_tokens}")
        if not self.rules.chunked_prefill and longest > self.rules.max_num_batched_tokens:
            raise ValueError(f"request {request.id} does not fit in one step, and prompts are not chunked")
        sequence = Sequence(request)
        self._sequences[request.id] = sequence
        self._upcoming.append(sequence)

    def cancel(self, request_id: str) -> bool:
        """Drops a request at once; False when it is unknown or finished."""
        sequence = self._sequences.pop(request_id, None)
        if sequence is None:
            return False
        match sequence.stage:
            case Stage.UPCOMING:
                self._upcoming.remove(sequence)
            case Stage.WAITING:
                self._waiting.remove(sequence)
            case _:
                self._take_out(sequence)
                self._kv.release(sequence)
        sequence.stage, self._blocked = Stage.GONE, False
        return True

    def advance(self, to_s: float) -> None:
        """Runs every step that starts, and delivers every step that ends, before `to_s`."""
        while (at_s := self.next_event_s) is not None and at_s < to_s:
            self._turn(at_s)
            if self._current is not None and self._only_decodes():
                self._coast(self._current, to_s)
        self._now_s = max(self._now_s, to_s)

    def _turn(self, at_s: float) -> None:
        """One boundary between steps."""
        self._boundary_s = at_s
        if self._current is not None:
            self._deliver(self._current)
        while self._upcoming and self._upcoming[0].request.arrival_s <= at_s:
            sequence = self._upcoming.popleft()
            sequence.stage, sequence.queued_s = Stage.WAITING, at_s
            self._waiting.append(sequence)
        self._current = self._next or self._plan()
        if self._current is not None:
            self._start(self._current)
        self._next = self._plan() if self._current is not None and self.rules.async_scheduling else None

    def _start(self, plan: _Plan) -> None:
        tokens = plan.prompt_tokens + plan.decode_tokens
        duration_s = self.step_time.seconds(tokens, plan.decode_tokens, plan.context_tokens, plan.pairs)
        plan.start_s, plan.end_s = self._boundary_s, self._boundary_s + duration_s
        if plan.decode_tokens:
            plan.since_s = self._decoded_s
            if plan.newcomers:
                plan.newcomers_since_s = tuple(s.last_token_s for s in plan.newcomers if s.stage is not Stage.GONE)
            self._decoded_s = plan.end_s

    def _only_decodes(self) -> bool:
        """Whether the steps planned give everybody in the batch one more token, and those after will do the same until
        somebody arrives or is complete or blocks run out."""
        if self._newcomers or self._prefilling or not self._plain(self._current):
            return False
        if self.rules.async_scheduling and not self._plain(self._next):
            return False
        if not self._waiting or len(self._running) >= self._seats:
            return True
        # without a reserve, room only shrinks while everybody decodes
        return self._blocked and not self.rules.reserve_output_ratio

    def _plain(self, plan: _Plan | None) -> bool:
        return (
            plan is not None
            and plan.decode_tokens == self._batch.size > 0
            and not (plan.prompt_tokens or plan.newcomers or plan.complete)
        )

    def _coast(self, current: _Plan, to_s: float) -> None:
        """Turn after turn in which everybody decodes: the same as `_turn` makes of them, at a fraction of its cost."""
        ahead, batch, pool = self._next, self._batch, self._kv.pool
        until_s = min(to_s, self._upcoming[0].request.arrival_s) if self._upcoming else to_s
        most, free, size = batch.steps_to_first_due, pool.free, batch.size
        seconds, end_s, taken, ends = self.step_time.decoding(size), current.end_s, 0, list[float]()
        planned, context_tokens = batch.context_tokens, current.context_tokens
        while end_s < until_s and (turn := len(ends)) < most and (needed := taken + batch.blocks_needed(turn)) <= free:
            ends.append(end_s)
            taken, context_tokens = needed, planned
            if ahead is not None:
                context_tokens, ahead.context_tokens = ahead.context_tokens, planned
            planned += size
            end_s += seconds(context_tokens)
        if not ends:
            return
        if self._observer is not None:
            self._observer.decoded(current.start_s, current.since_s, ends, size)
        pool.take(taken)
        batch.tick(len(ends))
        self._decoded_clock += len(ends)
        current.context_tokens = context_tokens
        current.since_s = current.start_s = self._boundary_s = ends[-1]
        current.end_s = self._decoded_s = end_s

    # Planning

    def _plan(self) -> _Plan | None:
        """The next step, or None when nothing can be done yet."""
        plan, self._blocked = _Plan(), False
        mixed = self.rules.mixed
        if mixed and self._batch.size:
            self._plan_decode(plan)
        if self._prefilling or (self._waiting and len(self._running) < self._seats):
            self._plan_prefill(plan)
        if not mixed and self._batch.size and not plan.prompt_tokens:
            self._plan_decode(plan)
        return plan if plan.prompt_tokens or plan.decode_tokens else None

    def _plan_decode(self, plan: _Plan) -> None:
        batch, pool = self._batch, self._kv.pool
        while (needed := batch.blocks_needed()) > pool.free:
            self._preempt(next(s for s in reversed(self._running.values()) if s.stage is not Stage.DRAINING))
            plan.preempted = True
        if not batch.size:
            return
        pool.take(needed)
        plan.decode_tokens, plan.context_tokens = batch.size, batch.context_tokens
        if self._newcomers:
            plan.newcomers = tuple(self._newcomers)
            self._newcomers.clear()
        plan.complete = batch.step()
        for sequence in plan.complete:
            sequence.stage = Stage.DRAINING

    def _plan_prefill(self, plan: _Plan) -> None:
        budget = self.rules.max_num_batched_tokens - plan.decode_tokens
        for sequence in tuple(self._prefilling):
            if budget and sequence.stage is Stage.PREFILLING:
                budget -= self._plan_chunk(plan, sequence, budget)
        while budget and self._waiting and not plan.preempted and len(self._running) < self._seats:
            sequence = self._waiting[0]
            if not self._admit(sequence, budget):
                self._blocked = True
                break
            budget -= self._plan_chunk(plan, sequence, budget)

    def _plan_chunk(self, plan: _Plan, sequence: Sequence, budget: int) -> int:
        """Puts the next piece of a prompt into the step; short of blocks, preempts the last begun prompt instead."""
        before = sequence.computed
        chunk = min(budget, sequence.tokens_to_compute - before)
        while not self._kv.grow(sequence, before + chunk):
            plan.preempted = True
            victim = self._prefilling[-1]
            self._preempt(victim)
            if victim is sequence:
                return 0
        plan.prompt_tokens += chunk
        plan.context_tokens += before
        plan.pairs += chunk * (before + chunk / 2)
        if sequence.computed == sequence.tokens_to_compute:
            self._prefilling.remove(sequence)
            plan.computed += (sequence,)
            remaining = sequence.request.output_tokens - sequence.produced - 1
            if remaining:
                sequence.stage = Stage.DECODING
                self._batch.join(sequence, remaining)
                self._newcomers.append(sequence)
            else:
                sequence.stage = Stage.DRAINING
                plan.complete += (sequence,)
        return chunk

    def _admit(self, sequence: Sequence, budget: int) -> bool:
        """Lets the head of the queue in if its whole sequence so far fits in the free blocks."""
        hit = self._kv.lookup(sequence)
        if self._kv.needed(sequence, hit) + self._reserve(sequence) > self._kv.pool.free:
            return False
        hit_tokens = (hit.shared + hit.own) * self.rules.block_size
        if not self.rules.chunked_prefill and sequence.tokens_to_compute - hit_tokens > budget:
            return False
        self._waiting.popleft()
        self._kv.enter(sequence, hit)
        sequence.stage = Stage.PREFILLING
        self._running[sequence.request.id] = sequence
        self._prefilling.append(sequence)
        if sequence.scheduled_s is None:
            sequence.scheduled_s = self._boundary_s
            if self._observer is not None and self.rules.prefix_caching:
                self._observer.prefix(sequence.tokens_to_compute, hit_tokens)
        return True

    def _reserve(self, newcomer: Sequence) -> int:
        """Blocks kept back for output still to come.

        When somebody may enter, every prompt begun is complete, so the batch holds all of it; with blocks of several
        tokens each request may start one more than it fills.
        """
        ratio = self.rules.reserve_output_ratio
        if not ratio or not self._running:
            return 0
        tokens = self._batch.tokens_to_come + newcomer.request.output_tokens - newcomer.produced
        partial = len(self._running) + 1 if self.rules.block_size > 1 else 0
        return math.ceil(ratio * (tokens / self.rules.block_size + partial))

    def _preempt(self, sequence: Sequence) -> None:
        if sequence.stage is Stage.DECODING and sequence not in self._newcomers:
            sequence.last_token_s = self._decoded_s
        self._take_out(sequence)
        self._kv.set_aside(sequence)
        sequence.stage, sequence.delivered = Stage.WAITING, False
        self._waiting.appendleft(sequence)
        self._blocked = False
        self.preemptions += 1
        if self._observer is not None:
            self._observer.preempted(sequence.request, self._boundary_s)

    def _take_out(self, sequence: Sequence) -> None:
        """Removes a sequence from the batch, blocks aside."""
        del self._running[sequence.request.id]
        if sequence.stage is Stage.PREFILLING:
            self._prefilling.remove(sequence)
        elif sequence.stage is Stage.DECODING:
            self._batch.leave(sequence)
            if sequence in self._newcomers:
                self._newcomers.remove(sequence)

    # Delivery

    def _deliver(self, plan: _Plan) -> None:
        """What the clients see when a step ends."""
        at_s, observer = plan.end_s, self._observer
        if observer is not None:
            observer.step(at_s, at_s - plan.start_s, plan.prompt_tokens, plan.decode_tokens)
        if plan.decode_tokens:
            self._decoded_clock += 1
            if observer is not None:
                self._deliver_decodes(plan, observer)
        for sequence in plan.computed:
            self._deliver_computed(sequence, at_s)
        for sequence in plan.complete:
            if sequence.stage is not Stage.GONE:
                self._finish(sequence, at_s)

    def _deliver_decodes(self, plan: _Plan, observer: Observer) -> None:
        if not plan.newcomers:
            observer.tokens(plan.end_s, plan.end_s - plan.since_s, plan.decode_tokens)
            return
        for since_s in plan.newcomers_since_s:
            observer.tokens(plan.end_s, plan.end_s - since_s, 1)
        if others := plan.decode_tokens - len(plan.newcomers):
            observer.tokens(plan.end_s, plan.end_s - plan.since_s, others)

    def _deliver_computed(self, sequence: Sequence, at_s: float) -> None:
        """The token that a completed prompt yields: the first, or after preemption the next."""
        if sequence.stage is Stage.GONE:
            return
        if sequence.first_token_s is None:
            sequence.first_token_s = at_s
            if self._observer is not None:
                arrival_s = sequence.request.arrival_s
                self._observer.first_token(sequence.request, at_s, _queue_s(sequence), at_s - arrival_s)
        elif self._observer is not None:
            self._observer.tokens(at_s, at_s - sequence.last_token_s, 1)
        sequence.last_token_s = at_s
        sequence.delivered = sequence.stage is not Stage.WAITING

    def _finish(self, sequence: Sequence, at_s: float) -> None:
        request = sequence.request
        del self._running[request.id], self._sequences[request.id]
        self._kv.release(sequence)
        sequence.stage = Stage.GONE
        if self._observer is None or sequence.first_token_s is None or sequence.scheduled_s is None:
            return
        self._observer.finished(
            Finished(
                request=request,
                finished_s=at_s,
                queue_s=_queue_s(sequence),
                ttft_s=sequence.first_token_s - request.arrival_s,
                prefill_s=sequence.first_token_s - sequence.scheduled_s,
                decode_s=at_s - sequence.first_token_s,
                e2e_s=at_s - request.arrival_s,
            )
        )


def _queue_s(sequence: Sequence) -> float:
    return (sequence.scheduled_s or sequence.queued_s) - sequence.queued_s
