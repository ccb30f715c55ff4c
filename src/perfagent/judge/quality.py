"""Do replicas answer as before? For changes that may alter answers, such as fewer bits for weights or KV cache.

Two greedy answers to a prompt can be compared place by place up to the first token that differs: until then both
followed the same text, afterwards they tell of different things. So each prompt gives some places and at most one
difference, and the share of places that differ is what a measurement over a whole text would call 1 − "same top token".
The same server does not always answer alike either (other requests in the batch change the order of sums), hence the
answers of two replicas before the change, or two of the same one, tell what is chance.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from math import exp, sqrt

import numpy as np
from scipy.special import gammaincinv, stdtrit

from perfagent.domain.errors import InvalidInput
from perfagent.domain.quality import Answer, AnswerPair, Differing, Quality, QualityVerdict
from perfagent.domain.verdict import Verdict
from perfagent.judge.compare import PROMOTE_ALPHA

LEAST_PROMPTS = 2
"""Answers with probabilities from which on their spread is known."""


def read_prompts(text: str) -> tuple[str, ...]:
    """Prompts from JSON lines, each `{"prompt": "…"}`. Raises `InvalidInput`."""
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            prompt = json.loads(line)["prompt"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InvalidInput(f'line {number} of the prompts is not {{"prompt": "…"}}') from error
        if not isinstance(prompt, str):
            raise InvalidInput(f"line {number}: a prompt is text")
        found.append(prompt)
    if not found:
        raise InvalidInput("a file of prompts has at least one")
    return Quality(tuple(found)).prompts


def shipped_prompts() -> tuple[str, ...]:
    """The small set that is asked where nobody gives a better one."""
    return read_prompts(files("perfagent.judge").joinpath("prompts.jsonl").read_text("utf-8"))


def compare(before: Sequence[AnswerPair], answers: Sequence[Answer], quality: Quality) -> QualityVerdict:
    """What the answers to the same prompts say, held against those before the change.

    Promote where it is proven, with one error in a hundred, that neither tokens nor probabilities differ by more than
    accepted beyond chance. The same answers always lead to the same verdict.
    """
    alpha = PROMOTE_ALPHA / 2  # for each of two bounds; probabilities must pass as well, so they share it with nobody
    differing = _differing([(first, now) for (first, _), now in zip(before, answers, strict=True)])
    usual = _differing(before)
    low, high = _beyond(differing, usual, alpha)
    told = (
        f"{differing.share:.1%} of {differing.places} tokens differ from the answers before the change, "
        f"{usual.share:.1%} differed without it"
    )
    shift, shift_high = _shift(before, answers, alpha)
    if shift is not None:
        told += f", and probabilities are off by {shift:.1%}"
    accepted = f"{quality.tokens_differ:.1%} are accepted"
    tokens_alike = high <= quality.tokens_differ
    shift_alike = shift_high is None or shift_high <= quality.probability_shift
    if tokens_alike and shift_alike:
        verdict, reason = Verdict.PROMOTE, f"answers are as before: {told}"
    elif low > quality.tokens_differ:
        verdict, reason = Verdict.HOLD, f"answers are not as before: {told}; {accepted}"
    elif not tokens_alike:
        verdict = Verdict.HOLD
        reason = f"answers may not be as before: {told}, which may be {high:.1%} beyond chance; {accepted}"
    else:
        verdict = Verdict.HOLD
        reason = f"answers may not be as before: {told}; {quality.probability_shift:.1%} is accepted, with certainty"
    return QualityVerdict(verdict, reason, tuple(answers), differing, usual, shift)


def alike(first: Answer, second: Answer) -> Differing:
    """The places at which both followed the same text. An answer that ends where the other goes on differs there."""
    common = min(len(first.tokens), len(second.tokens))
    for place in range(common):
        if first.tokens[place] != second.tokens[place]:
            return Differing(place + 1, 1)
    goes_on = len(first.tokens) != len(second.tokens)
    return Differing(common + goes_on, int(goes_on))


def _differing(pairs: Sequence[AnswerPair]) -> Differing:
    each = [alike(first, second) for first, second in pairs]
    return Differing(sum(one.places for one in each), sum(one.others for one in each))


def _beyond(differing: Differing, usual: Differing, alpha: float) -> tuple[float, float]:
    """Bounds of how much more differs than by chance, each wrong at most twice `alpha` of the time."""
    low, high = _bounds(differing, alpha)
    usual_low, usual_high = _bounds(usual, alpha)
    return low - usual_high, high - usual_low


def _bounds(seen: Differing, alpha: float) -> tuple[float, float]:
    """Exact bounds of a rate from events over an exposure (Garwood 1936), which is what answers that end at their first
    difference, or at their length, are: a life test with censoring."""
    if not seen.places:
        return 0.0, 1.0
    low = float(gammaincinv(seen.others, alpha)) / seen.places if seen.others else 0.0
    return low, min(1.0, float(gammaincinv(seen.others + 1, 1 - alpha)) / seen.places)


def _shift(before: Sequence[AnswerPair], answers: Sequence[Answer], alpha: float) -> tuple[float | None, float | None]:
    """How far the probabilities of tokens that both chose are off beyond chance (root mean square), and an upper bound.

    Prompt by prompt, since tokens of one answer are not independent; None where no probabilities were told.
    """
    found = []
    for (first, second), now in zip(before, answers, strict=True):
        changed, unchanged = _squared_shift(first, now), _squared_shift(first, second)
        if changed is not None and unchanged is not None:
            found.append(changed - unchanged)
    if not found:
        return None, None
    mean = float(np.mean(found))
    if len(found) < LEAST_PROMPTS:
        return sqrt(max(mean, 0.0)), 1.0
    error = float(np.std(found, ddof=1)) / sqrt(len(found))
    return sqrt(max(mean, 0.0)), sqrt(max(mean - error * float(stdtrit(len(found) - 1, 2 * alpha)), 0.0))


def _squared_shift(first: Answer, second: Answer) -> float | None:
    """Mean square of the differences in probability over the tokens that both have; None without any."""
    seen = alike(first, second)
    both = list(zip(first.logprobs, second.logprobs, strict=False))[: seen.places - seen.others]
    return sum((exp(a) - exp(b)) ** 2 for a, b in both) / len(both) if both else None
