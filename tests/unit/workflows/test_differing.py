import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.knob import LaunchConfig
from perfagent.workflows.differing import differing

WANTED = LaunchConfig(("--max-num-seqs", "64", "--seed=7", "--api-key", "hush"), (("HF_TOKEN", "hush"),))


def told(*flags: str, env: tuple[tuple[str, str], ...] = WANTED.env) -> str:
    return differing("vllm", "0.26.0", LaunchConfig(flags, env), WANTED)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--max-num-seqs=32", "--seed=7", "--api-key", "hush"),
            "max_num_seqs is 32, not 64; differing: --max-num-seqs",
        ),
        (("--seed=7", "--api-key", "hush"), "max_num_seqs is not set, not 64; differing: --max-num-seqs"),
        (("--max-num-seqs", "64", "--seed=8", "--api-key", "open"), "differing: --api-key, --seed"),
        (("--seed=7", "--max-num-seqs", "64", "--api-key", "hush"), "its options are in another order"),
        (
            (*WANTED.flags, "--kv-cache-dtype", "fp8"),
            "kv_cache_dtype is fp8, not left out; differing: --kv-cache-dtype",
        ),
    ],
)
def test_it_is_told_knob_by_knob_and_by_name_for_the_rest(flags: tuple[str, ...], said: str) -> None:
    assert told(*flags) == said


def test_of_the_environment_names_alone_are_told() -> None:
    assert told(*WANTED.flags, env=(("HF_TOKEN", "other"), ("DEBUG", "1"))) == "differing: DEBUG, HF_TOKEN"


@given(st.lists(st.text(max_size=6), max_size=4).map(tuple))
def test_any_flags_can_be_compared(flags: tuple[str, ...]) -> None:
    assert told(*flags)
