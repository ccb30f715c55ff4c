"""Whether answers are as before: what is compared, what proves it, and how often that is wrong."""

from math import log

import numpy as np
import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.quality import ANSWER_TOKENS, Answer, AnswerPair, Differing, Quality
from perfagent.domain.verdict import Verdict
from perfagent.judge.quality import alike, compare, read_prompts, shipped_prompts

PROMPTS = 24
SURE = Answer(("a",) * ANSWER_TOKENS, (log(0.9),) * ANSWER_TOKENS)


def said(text: str, probability: float | None = None) -> Answer:
    tokens = tuple(text)
    return Answer(tokens, () if probability is None else (log(probability),) * len(tokens))


def other_from(place: int | None, probability: float = 0.9) -> Answer:
    """`SURE`, but with other tokens from a place on."""
    kept = ANSWER_TOKENS if place is None else place
    return Answer(("a",) * kept + ("b",) * (ANSWER_TOKENS - kept), (log(probability),) * ANSWER_TOKENS)


def drawn(share: float, random: np.random.Generator) -> list[Answer]:
    """Answers that leave `SURE` at each place with this chance."""
    places = random.geometric(share, PROMPTS) - 1
    return [other_from(int(place) if place < ANSWER_TOKENS else None) for place in places]


def before(*, differing: int = 0) -> list[AnswerPair]:
    """Answers of which so many, the second time, differ halfway."""
    return [(SURE, other_from(32 if k < differing else None)) for k in range(PROMPTS)]


@pytest.mark.parametrize(
    ("first", "second", "seen"),
    [
        ("abc", "abc", Differing(3, 0)),
        ("abc", "abx", Differing(3, 1)),
        ("xbc", "abc", Differing(1, 1)),
        ("abcdef", "abXdeY", Differing(3, 1)),
        ("ab", "abcd", Differing(3, 1)),
        ("", "", Differing(0, 0)),
    ],
)
def test_answers_are_compared_up_to_their_first_difference(first: str, second: str, seen: Differing) -> None:
    assert alike(said(first), said(second)) == seen
    assert alike(said(second), said(first)) == seen


def test_the_same_answers_promote() -> None:
    verdict = compare(before(), [SURE] * PROMPTS, Quality())
    assert verdict.verdict is Verdict.PROMOTE
    assert verdict.differing == verdict.usual == Differing(PROMPTS * ANSWER_TOKENS, 0)
    assert verdict.probability_shift == 0
    assert verdict.reason == (
        "answers are as before: 0.0% of 1536 tokens differ from the answers before the change, "
        "0.0% differed without it, and probabilities are off by 0.0%"
    )


def test_other_answers_hold_and_the_reason_says_by_how_much() -> None:
    verdict = compare(before(), [other_from(3)] * PROMPTS, Quality())
    assert verdict.verdict is Verdict.HOLD
    assert verdict.differing == Differing(4 * PROMPTS, PROMPTS)
    assert verdict.reason.startswith("answers are not as before: 25.0% of 96 tokens differ")
    assert verdict.reason.endswith("; 5.0% are accepted")


def test_what_too_few_tokens_tell_is_held() -> None:
    """All alike, but two prompts prove no share of one in twenty."""
    few = [(said("ab"), said("ab"))] * 2
    verdict = compare(few, [said("ab")] * 2, Quality())
    assert verdict.verdict is Verdict.HOLD
    assert "which may be 100.0% beyond chance" in verdict.reason


def test_replicas_that_never_answer_alike_are_not_held_for_it() -> None:
    """Each answer differs from each: with enough of them it is seen that the change adds nothing."""
    random = np.random.default_rng(1)
    pairs = [(SURE, second) for _ in range(20) for second in drawn(0.01, random)]
    now = [answer for _ in range(20) for answer in drawn(0.01, random)]
    assert compare(pairs, now, Quality()).verdict is Verdict.PROMOTE
    assert compare([(SURE, SURE)] * len(now), now, Quality(tokens_differ=0.009)).verdict is Verdict.HOLD


def test_tokens_alike_but_held_for_half_as_probable_hold() -> None:
    verdict = compare(before(), [other_from(None, probability=0.5)] * PROMPTS, Quality())
    assert verdict.verdict is Verdict.HOLD
    assert verdict.probability_shift == pytest.approx(0.4)
    assert verdict.reason.endswith("and probabilities are off by 40.0%; 3.0% is accepted, with certainty")


def test_a_shift_that_two_answers_have_without_the_change_is_chance() -> None:
    noisy = [(SURE, other_from(None, probability=0.8))] * PROMPTS
    verdict = compare(noisy, [other_from(None, probability=0.8)] * PROMPTS, Quality())
    assert verdict.probability_shift == 0
    assert verdict.verdict is Verdict.PROMOTE


def test_without_probabilities_tokens_decide_alone() -> None:
    plain = [Answer(SURE.tokens)] * PROMPTS
    verdict = compare([(answer, answer) for answer in plain], plain, Quality())
    assert verdict.verdict is Verdict.PROMOTE
    assert verdict.probability_shift is None
    assert "probabilities" not in verdict.reason


def test_probabilities_of_one_prompt_prove_nothing() -> None:
    plain = Answer(SURE.tokens)
    pairs = [(SURE, SURE), *[(plain, plain)] * (PROMPTS - 1)]
    assert compare(pairs, [SURE, *[plain] * (PROMPTS - 1)], Quality()).verdict is Verdict.HOLD


@pytest.mark.parametrize(
    ("share", "least", "most"), [(0.05, 0, 3), (0.1, 0, 0), (0.03, 30, 60), (0.02, 85, 100), (0.002, 100, 100)]
)
def test_what_differs_by_more_than_accepted_is_hardly_ever_promoted(share: float, least: int, most: int) -> None:
    """Of a hundred changes; one in a hundred is meant at the limit of 5 % itself."""
    random = np.random.default_rng(7)
    verdicts = [compare(before(), drawn(share, random), Quality()).verdict for _ in range(100)]
    assert least <= verdicts.count(Verdict.PROMOTE) <= most


def test_the_shipped_prompts_are_two_dozen_different_ones() -> None:
    prompts = shipped_prompts()
    assert len(prompts) == len(set(prompts)) == 24


def test_prompts_are_json_lines_and_blank_lines_do_not_count() -> None:
    assert read_prompts('{"prompt": "one"}\n\n{"prompt": "two", "kind": "told by people"}\n') == ("one", "two")
    assert read_prompts('{"prompt": "a\u2028b"}\r\n{"prompt": "c\x85d"}') == ("a\u2028b", "c\x85d")


@pytest.mark.parametrize(
    "text", ["", "\n", "not json", '"text"', "[]", "{}", '{"prompt": 3}', '{"prompt": ""}', '{"prompt": null}']
)
def test_anything_else_is_no_file_of_prompts(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_prompts(text)


def test_a_file_of_too_many_or_too_long_prompts_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 100 prompts"):
        read_prompts('{"prompt": "x"}\n' * 101)
    with pytest.raises(InvalidInput, match="10000 characters"):
        Quality(("x" * 10_001,))


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan")])
def test_a_limit_is_a_share(share: float) -> None:
    with pytest.raises(InvalidInput, match="tokens_differ is a share"):
        Quality(tokens_differ=share)
    with pytest.raises(InvalidInput, match="probability_shift is a share"):
        Quality(probability_shift=share)
