import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Knob, KnobValue
from perfagent.domain.policy import Bounds, Policy

SEATS = Bounds(Knob.MAX_NUM_SEQS, 16, 1024)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (16, ()),
        (1024, ()),
        (15, ("max_num_seqs = 15 is below the policy's min of 16",)),
        (1025, ("max_num_seqs = 1025 is above the policy's max of 1024",)),
        ("many", ("max_num_seqs = many is no number, and the policy bounds it",)),
        (True, ("max_num_seqs = True is no number, and the policy bounds it",)),
    ],
)
def test_values_beyond_the_bounds_are_told(value: KnobValue, said: tuple[str, ...]) -> None:
    policy = Policy(bounds=(SEATS, Bounds(Knob.BLOCK_SIZE, most=1)))
    assert policy.beyond(((Knob.MAX_NUM_SEQS, value),)) == said


def test_one_end_may_be_open() -> None:
    assert Bounds(Knob.MAX_NUM_SEQS, least=2).beyond(1e9) is None
    assert Bounds(Knob.MAX_NUM_SEQS, most=2).beyond(-1e9) is None


@pytest.mark.parametrize(("least", "most"), [(None, None), (2.0, 1.0)])
def test_bounds_that_cannot_be_meant_are_refused(least: float | None, most: float | None) -> None:
    with pytest.raises(InvalidInput):
        Bounds(Knob.MAX_NUM_SEQS, least, most)


@pytest.mark.parametrize(
    ("allow", "others"),
    [(None, 0), ((), 2), ((Knob.MAX_NUM_SEQS,), 1), ((Knob.MAX_NUM_SEQS, Knob.KV_CACHE_DTYPE), 0)],
)
def test_knobs_that_are_not_listed_are_told(allow: tuple[Knob, ...] | None, others: int) -> None:
    change = ((Knob.MAX_NUM_SEQS, 64), (Knob.KV_CACHE_DTYPE, "fp8"))
    assert len(Policy(allow=allow).unlisted(change)) == others
