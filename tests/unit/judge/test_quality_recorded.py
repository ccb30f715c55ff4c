"""What is said of answers that a real vLLM gave; `tests/fixtures/answers/README.md` says how."""

import json

from perfagent.domain.quality import Answer, Differing, Quality, QualityVerdict
from perfagent.domain.verdict import Verdict
from perfagent.judge.quality import compare
from support.pages import FIXTURES


def recorded(name: str) -> list[Answer]:
    lines = (FIXTURES / "answers" / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [Answer(tuple(told["tokens"]), tuple(told["logprobs"])) for told in map(json.loads, lines)]


def said(first: str, second: str, now: str) -> QualityVerdict:
    return compare(list(zip(recorded(first), recorded(second), strict=True)), recorded(now), Quality())


def test_a_trained_model_answers_nearly_as_before_with_eight_bits_for_its_cache() -> None:
    verdict = said("trained-16-bits", "trained-16-bits", "trained-fp8-kv")
    assert (verdict.verdict, verdict.differing) == (Verdict.PROMOTE, Differing(1016, 13))
    assert verdict.probability_shift is not None
    assert round(verdict.probability_shift, 3) == 0.01


def test_load_alone_changes_hardly_an_answer() -> None:
    verdict = said("random-16-bits", "random-16-bits", "random-16-bits-under-load")
    assert (verdict.verdict, verdict.differing) == (Verdict.PROMOTE, Differing(1533, 1))


def test_a_model_that_is_never_sure_is_held_with_eight_bits() -> None:
    verdict = said("random-16-bits", "random-16-bits-under-load", "random-fp8-kv")
    assert (verdict.verdict, verdict.differing, verdict.usual) == (
        Verdict.HOLD,
        Differing(546, 20),
        Differing(1533, 1),
    )
