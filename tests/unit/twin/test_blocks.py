import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.twin.blocks import BlockPool, Parked

CAPACITY = 12
MOVES = st.lists(st.tuples(st.sampled_from(["take", "give_back", "park", "reclaim"]), st.integers(0, CAPACITY)))


class Listed:
    """The same pool with a name on every block: slow and obvious."""

    def __init__(self) -> None:
        self.queue: list[tuple[int, int]] = [(-1, 0)] * CAPACITY  # (content, index in content)

    def surviving(self, content: int) -> int:
        return sum(owner == content for owner, _ in self.queue)

    def reclaim(self, content: int, count: int) -> None:
        self.queue = [(owner, index) for owner, index in self.queue if owner != content or index >= count]


@given(MOVES)
def test_the_pool_behaves_like_a_list_of_named_blocks(moves: list[tuple[str, int]]) -> None:
    pool, listed, held = BlockPool(CAPACITY), Listed(), 0
    parked: dict[int, Parked] = {}
    for number, (move, wanted) in enumerate(moves):
        match move:
            case "take":
                count = min(wanted, pool.free)
                pool.take(count)
                del listed.queue[:count]
                held += count
            case "give_back" | "park":
                count = min(wanted, held)
                held -= count
                if move == "park":
                    parked[number] = pool.park(count)
                else:
                    pool.give_back(count)
                owner = number if move == "park" else -1
                listed.queue += [(owner, index) for index in reversed(range(count))]
            case _ if parked:
                content = sorted(parked)[wanted % len(parked)]
                count = pool.surviving(parked[content])
                pool.reclaim(parked.pop(content), count)
                listed.reclaim(content, count)
                held += count
        assert pool.free == len(listed.queue) == CAPACITY - held
        assert {c: pool.surviving(p) for c, p in parked.items()} == {c: listed.surviving(c) for c in parked}


def test_more_than_there_is_cannot_be_taken() -> None:
    pool = BlockPool(4)
    pool.take(4)
    with pytest.raises(ValueError, match="0 free"):
        pool.take(1)
    parked = pool.park(2)
    pool.take(1)
    with pytest.raises(ValueError, match="1 survive"):
        pool.reclaim(parked, 2)
