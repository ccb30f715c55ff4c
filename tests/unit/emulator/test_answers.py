"""What emulated replicas answer."""

from math import exp

import numpy as np
import pytest

from perfagent.emulator.answers import FIRST, LEAST, MOST, Errors, errors, words
from perfagent.judge.quality import shipped_prompts
from perfagent.twin.data_types import DataTypes

SAME = Errors()


def test_the_same_prompt_has_the_same_answer_and_says_that_it_is_emulated() -> None:
    spoken = words("The sky is", 20, SAME)
    assert spoken == words("The sky is", 20, SAME)
    assert spoken != words("The sea is", 20, SAME)
    assert spoken[0].text == FIRST
    assert all(LEAST <= exp(word.logprob) <= MOST for word in spoken)


def test_a_longer_answer_begins_like_the_shorter_one() -> None:
    assert words("The sky is", 50, SAME)[:20] == words("The sky is", 20, SAME)


def test_halves_of_characters_are_a_prompt_too() -> None:
    assert words("\ud800", 3, SAME)


def test_an_answer_that_strays_goes_on_elsewhere() -> None:
    usual, astray = (words("The sky is", 60, each) for each in (SAME, Errors(others=0.1)))
    alike = [one.text == other.text for one, other in zip(usual, astray, strict=True)]
    first = alike.index(False)
    assert all(alike[:first])
    assert sum(alike[first:]) < 10


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_so_often_another_token_comes(share: float) -> None:
    places = others = 0
    for k in range(200):
        pairs = zip(words(f"{k}", 40, SAME), words(f"{k}", 40, Errors(others=share)), strict=True)
        same = [one.text == other.text for one, other in pairs][1:]
        others += not all(same)
        places += same.index(False) + 1 if not all(same) else len(same)
    assert others / places == pytest.approx(share, rel=0.2)


def test_so_far_probabilities_shift() -> None:
    usual, astray = (words("The sky is", 1000, each) for each in (SAME, Errors(shift=0.02)))
    off = [exp(one.logprob) - exp(other.logprob) for one, other in zip(usual, astray, strict=True)]
    assert np.sqrt(np.mean(np.square(off))) == pytest.approx(0.02, rel=0.05)


def test_fewer_bits_stray_further_and_weights_and_cache_add_up() -> None:
    assert errors(DataTypes()) == SAME
    eight, four = errors(DataTypes(weight_bytes=1.0)), errors(DataTypes(weight_bytes=0.5))
    assert 0 < eight.others < four.others
    both = errors(DataTypes(weight_bytes=1.0, kv_bytes=1.0))
    assert both.others == pytest.approx(2 * eight.others)
    assert both.shift == pytest.approx(2**0.5 * eight.shift)


def test_the_shipped_prompts_have_answers_of_their_own() -> None:
    answers = {tuple(word.text for word in words(prompt, 8, SAME)) for prompt in shipped_prompts()}
    assert len(answers) == len(shipped_prompts())
