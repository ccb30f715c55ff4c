"""The twin plays a recording's own arrivals and comes out where the real engine did.

The step time is fitted from the pages of all recordings with the same kernels, jointly: from what was computed in how
many seconds, and how long the engine says that a prompt's own step took. What a request spends outside the scheduler
is what the engine's timers leave over of the time to first token in the other recordings, never in the one that is
played. The truth of each recording is then compared over its steady part.
"""

import os
from functools import cache
from pathlib import Path
from statistics import median

import pytest

from integration.recordings import Recording
from perfagent.twin import Replica, StepTime
from perfagent.twin.fit import Fit, fit
from perfagent.twin.hardware import expected
from perfagent.twin.interval import merged
from unit.twin.trace import Trace

REPOSITORY = Path(__file__).parents[2]
THINNED = REPOSITORY / "tests/fixtures/captures"
FULL = Path(os.environ.get("PERFAGENT_CAPTURES", REPOSITORY / "../shared/captures"))
GUESSED_HARDWARE = 9.0  # the prior's variance where there is no data sheet: three times the standard deviation

STRETCHES = 5  # whose median is told; fewer may all lie in the start

LIMITS = {"itl_mean_s": 0.10, "throughput_tok_s": 0.05, "ttft_mean_s": 0.25}


def recordings(root: Path) -> list[Recording]:
    found = [Recording(meta.parent) for meta in sorted(root.glob("*/*/meta.json")) if meta.parent.name != "pages"]
    return [recording for recording in found if recording.loaded]


@cache
def fitted(root: Path, kernels: tuple[str, ...]) -> Fit:
    """One fit for all recordings with the same kernels."""
    alike = [recording for recording in recordings(root) if recording.kernels == kernels]
    prior = expected(alike[0].shape, alike[0].hardware)
    if not alike[0].on_gpu:
        prior = prior.faded(GUESSED_HARDWARE)
    found = fit([row for recording in alike for row in merged(recording.intervals())], prior)
    assert found is not None
    return found


def outside_s(root: Path, recording: Recording) -> float:
    """What the twin does not play, the server's own front end: by the engine's timers on the other recordings alike."""
    others = [each for each in recordings(root) if each.kernels == recording.kernels and each.name != recording.name]
    stretches = [seconds for each in others for seconds in each.outside_s()]
    return max(0.0, median(stretches)) if len(stretches) >= STRETCHES else 0.0


def play(recording: Recording, step_time: StepTime) -> Trace:
    trace = Trace()
    replica = Replica(recording.rules, step_time, trace)
    requests, follow_up = recording.requests()
    for request in requests:
        replica.submit(request)
    to_s, finished = recording.meta["truth"]["to_s"], 0
    while follow_up and (next_s := replica.next_event_s) is not None and next_s < to_s:
        replica.advance(next_s + 1e-9)
        for _ in range(len(trace.records) - finished):
            replica.submit(follow_up(replica.now_s))
        finished = len(trace.records)
    replica.advance(to_s)
    return trace


def errors(recording: Recording, trace: Trace, front_end_s: float) -> dict[str, float]:
    truth = recording.meta["truth"]
    from_s, to_s = truth["from_s"], truth["to_s"]
    twin = {
        "itl_mean_s": trace.itl_mean_s(from_s, to_s),
        "throughput_tok_s": trace.generated_tokens(from_s, to_s) / (to_s - from_s),
        "ttft_mean_s": trace.ttft_mean_s(from_s, to_s) + front_end_s,
    }
    for metric, value in twin.items():
        print(
            f"{recording.name:48} {metric:17} twin {value:10.4f}  real {truth[metric]:10.4f}  "
            f"{value / truth[metric] - 1:+7.1%}"
        )
    return {metric: value / truth[metric] - 1 for metric, value in twin.items()}


CASES = [
    pytest.param(root, r, id=f"{label}-{r.name}")
    for label, root in (("thinned", THINNED), ("full", FULL))
    for r in recordings(root)
]


@pytest.mark.parametrize(("root", "recording"), CASES)
def test_the_twin_reproduces_a_recording(root: Path, recording: Recording) -> None:
    found = fitted(root, recording.kernels)
    front_end_s = outside_s(root, recording)
    print(
        found.belief.step_time,
        f"front end {front_end_s:.4f}",
        f"residual {found.residual_ratio:.1%}",
        sorted(found.pinned),
    )
    for metric, error in errors(recording, play(recording, found.belief.step_time), front_end_s).items():
        assert abs(error) <= LIMITS[metric], metric
