"""The twin on behalf of callers: what is asked of it, and what is not asked again."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from functools import cache
from math import log

import pytest

from perfagent import foresight
from perfagent.analysis import diagnose
from perfagent.collectors.recording import read_recording, view
from perfagent.domain.errors import InvalidInput, Unavailable
from perfagent.domain.finding import Cause, Diagnosis, Evidence, Finding, Severity, Symptom
from perfagent.domain.knob import EffectiveConfig, Knob
from perfagent.domain.machine import Machine
from perfagent.domain.metric import Metric
from perfagent.domain.slo import Comparison, Objective, SloMetric
from perfagent.domain.window import Window, increase, lifetime, observed
from perfagent.forecast import Figure, Load
from perfagent.forecast.knowledge import key_of
from perfagent.forecast.server import known
from perfagent.foresight import LEARN_EVERY_S, REUSED_S, Foresight, Replica, busiest
from perfagent.optimizers import Effort, Promoted, Tuned
from perfagent.store.memory import MemoryKnowledge
from perfagent.twin.data_types import MEASURED, DataTypes, ratios
from support import fleets, watched
from support.captures import WHOLE
from support.windows import window

FLAGS = ("--max-num-seqs=4",)
QUICK = Effort(screening=2, finalists=2, doubtful=1, draws=4)
STUCK = (*FLAGS, "--max-num-active-seqs=4")
"""Two limits on what runs at once: to raise one of them changes nothing."""
BUDGET = (*FLAGS, "--max-num-batched-tokens=2000")


@cache
def seen(rate_per_s: float = 2.0, *flags: str) -> Window:
    """Some time of a server whose four seats are always taken."""
    whole = watched.window(*(flags or FLAGS), rate_per_s=rate_per_s, slowness=3.0)
    part = whole.between(whole.start_s, whole.start_s + 24)
    assert part is not None
    return part


def replica(of: Window | None = None, *flags: str, machine: Machine = Machine("l40s")) -> Replica:  # noqa: B008
    launch = fleets.launch(watched.EMULATED, *(flags or FLAGS))
    return Replica(of or seen(), watched.config(*(flags or FLAGS)), launch, machine)


def finding(cause: Cause) -> Finding:
    evidence = (Evidence(Metric.RUNNING, "mean while others wait", 4, 4, "running below the limit"),)
    return Finding(cause, Symptom.QUEUE_BUILDUP, Severity.HIGH, 0.9, "r1", "…", evidence)


def diagnosis(*causes: Cause, later_s: float = 0.0) -> Diagnosis:
    """These findings. Of those that the twin does not play the answer is quickly found, and a new one each time."""
    of = diagnose(seen(), watched.config(*FLAGS))
    return replace(of, findings=tuple(finding(cause) for cause in causes), end_s=of.end_s + later_s)


CACHE = diagnosis(Cause.PREFIX_CACHE)


class Asking:
    """One foresight that is asked several times."""

    def __init__(self, effort: Effort = QUICK) -> None:
        self.of = Foresight(MemoryKnowledge(), effort)

    async def __call__(
        self,
        about: Diagnosis = CACHE,
        service: str = "chat",
        replicas: Sequence[Replica] | None = None,
        config: EffectiveConfig | None = None,
        objectives: Sequence[Objective] = (),
        promoted: Promoted = (),
    ) -> Tuned:
        replicas = [replica()] if replicas is None else replicas
        return await self.of.tune(service, replicas, about, config or watched.config(*FLAGS), objectives, promoted)


@pytest.fixture
def asking() -> Asking:
    return Asking()


# Whom it is about


def test_the_busiest_replica_answered_most() -> None:
    one, other, idle = (replica(window(finished=words)) for words in ("1000 1001 1003", "0 5 10", "5000 5000 5000"))
    assert busiest([one, other, idle]) is other
    assert busiest([other, one, idle]) is other


def test_a_replica_whose_answers_are_not_counted_is_not_the_busiest() -> None:
    silent, one = replica(window(running="4 4 4")), replica(window(finished="0 1 2"))
    assert busiest([silent, one]) is one
    assert busiest([silent]) is silent


def test_of_no_replica_nothing_can_be_told() -> None:
    with pytest.raises(InvalidInput, match="no replica"):
        busiest([])


async def test_a_change_is_predicted_for_the_busiest_replica(asking: Asking) -> None:
    calm = replica(seen(0.5))
    found = await asking.of.predict("chat", [calm, replica()], ((Knob.MAX_NUM_SEQS, 16),), Load())
    waiting = found.figures[Figure.WAITING].now
    assert waiting is not None
    assert waiting > 10
    assert len(found.runs) == 4


# The same question


async def test_findings_are_answered_with_what_the_twin_expects_while_the_event_loop_turns(asking: Asking) -> None:
    question = asyncio.create_task(asking(diagnosis(Cause.BATCH_LIMIT)))
    turns = 0
    while not question.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 3
    found = await question
    assert found.asked > 0
    assert found.proposals[0].change[0][0] is Knob.MAX_NUM_SEQS
    assert found.proposals[0].forecast


async def test_the_same_question_is_not_asked_twice_within_a_minute(asking: Asking) -> None:
    first = await asking()
    assert await asking() is first
    assert await asking(diagnosis(Cause.PREFIX_CACHE, later_s=REUSED_S - 1)) is first


async def test_whoever_asks_meanwhile_gets_the_same_answer(asking: Asking) -> None:
    answers = await asyncio.gather(*(asking() for _ in range(3)))
    assert all(answer is answers[0] for answer in answers)


@pytest.mark.parametrize("later_s", [REUSED_S, -1.0])
async def test_after_a_minute_it_is_asked_again_and_so_it_is_of_an_earlier_window(
    asking: Asking, later_s: float
) -> None:
    first = await asking()
    again = await asking(diagnosis(Cause.PREFIX_CACHE, later_s=later_s))
    assert again is not first
    assert await asking(diagnosis(Cause.PREFIX_CACHE, later_s=later_s)) is again


async def again_with(asking: Asking, what: str) -> Tuned:
    match what:
        case "other findings":
            return await asking(diagnosis(Cause.PREFIX_CACHE, Cause.HOST_BOUND))
        case "other settings":
            return await asking(config=watched.config(*BUDGET))
        case "other objectives":
            return await asking(objectives=(Objective(SloMetric.TTFT, 1.0),))
        case "another GPU":
            return await asking(replicas=[replica(machine=watched.L40S)])
        case "another past":
            return await asking(promoted=((Cause.PREFIX_CACHE, ((Knob.MAX_NUM_SEQS, 5),)),))
        case "another server":
            other = Window(tuple(replace(each, target="r2") for each in seen().snapshots))
            return await asking(replicas=[replica(other)])
        case _:
            return await asking(service="batch")


@pytest.mark.parametrize(
    "what",
    [
        "other findings",
        "other settings",
        "other objectives",
        "another GPU",
        "another past",
        "another server",
        "another service",
    ],
)
async def test_another_question_is_asked(asking: Asking, what: str) -> None:
    first = await asking()
    again = await again_with(asking, what)
    assert again is not first
    assert await again_with(asking, what) is again


async def test_only_so_many_answers_are_kept_and_those_asked_for_lately(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "MOST_KEPT", 2)
    a, b = await asking(service="a"), await asking(service="b")
    assert await asking(service="a") is a
    c = await asking(service="c")
    assert await asking(service="a") is a
    assert await asking(service="c") is c
    assert await asking(service="b") is not b


# Objectives of a service


async def test_what_all_replicas_bring_together_is_asked_of_each_in_part() -> None:
    """No setting helps. One has no more to do than twice what it does; two have, and twice as many would do it."""
    stuck = replica(seen(2.0, *STUCK), *STUCK)
    today = increase(stuck.window, Metric.GENERATION_TOKENS)
    assert today is not None
    wanted = Objective(SloMetric.THROUGHPUT, 3 * today / stuck.window.span_s, Comparison.GREATER_THAN)
    asking = Asking(Effort(screening=1, finalists=1, doubtful=0, draws=12))
    about = diagnosis(Cause.BATCH_LIMIT)
    config = watched.config(*STUCK)
    assert (await asking(about, "one", [stuck], config, [wanted])).replicas is None
    assert (await asking(about, "two", [stuck, stuck], config, [wanted])).replicas == 2


# What cannot be told


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (lambda: lifetime(seen().snapshots[-1]), "one scrape is no window"),
        (lambda: window(finished="0 5 10", running="4 4 4"), "how many tokens the KV cache holds"),
        (lambda: window(finished="0 5 10", running="4 4 4", kv_capacity="9999x3"), "no load to predict with"),
        (lambda: Window(seen().snapshots[:2]), "no request finished|never busy enough"),
    ],
)
async def test_where_a_window_tells_nothing_that_is_said(asking: Asking, of: Callable[[], Window], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        await asking(replicas=[replica(of())])
    with pytest.raises(InvalidInput, match=reason):
        await asking.of.predict("chat", [replica(of())], (), Load())


async def test_a_question_that_could_not_be_answered_holds_up_nobody(asking: Asking) -> None:
    first = await asking()
    for _ in range(2):
        with pytest.raises(InvalidInput):
            await asking(service="new", replicas=[replica(lifetime(seen().snapshots[-1]))])
    assert await asking() is first


async def test_the_queue_of_questions_is_bounded(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foresight, "MOST_WAITING", 1)
    before = asking.of.busy
    asked = [asyncio.create_task(asking(service=name)) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    during = asking.of.busy
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(answer, Unavailable) for answer in answers] == [False, False, True]
    assert (before, during, asking.of.busy) == (False, True, False)
    assert isinstance(await asking(service="c"), Tuned)


# What is learned


def test_what_is_known_grows_once_for_every_windows_length() -> None:
    knowledge = MemoryKnowledge()
    of, one = Foresight(knowledge, QUICK), replica(seen())
    key = key_of(known(one.window, one.config, one.launch, one.machine), one.window, "chat")
    for now_s, windows in ((1000.0, 1), (1000.0 + LEARN_EVERY_S / 2, 1), (1000.0 + LEARN_EVERY_S, 2)):
        of.learn("chat", [one], now_s)
        learned = knowledge.get(key)
        assert learned is not None
        assert learned.windows == windows


EIGHT_BITS = (*FLAGS, "--quantization=fp8")
SLOWER = 1.2
"""So much longer than a kernel database lets expect do steps with 8-bit weights take here."""


@cache
def quantized() -> Replica:
    """A server like the others but for its weights."""
    whole = watched.window(*EIGHT_BITS, rate_per_s=2.0, slowness=3.0 * SLOWER)
    part = whole.between(whole.start_s, whole.start_s + 24)
    assert part is not None
    return replica(part, *EIGHT_BITS, machine=watched.L40S)


def test_while_data_types_are_changed_servers_of_both_kinds_teach() -> None:
    knowledge = MemoryKnowledge()
    of = Foresight(knowledge, QUICK)
    plain = replica(machine=watched.L40S)
    for now_s in (1000.0, 1000.0 + LEARN_EVERY_S / 2):
        of.learn("chat", [plain, quantized(), plain], now_s)
    windows = {key.rpartition(" ")[2]: learned.windows for key, learned in knowledge._known.items()}
    assert windows == {"2/2": 1, "1/2": 1}


async def test_what_servers_of_both_kinds_showed_foretells_the_change_on_the_next_one() -> None:
    knowledge = MemoryKnowledge()
    of, plain = Foresight(knowledge, Effort(draws=12)), replica(machine=watched.L40S)
    change = ((Knob.QUANTIZATION, "fp8"),)
    came = observed(quantized().window, Metric.ITL)
    assert came is not None
    assert came.mean is not None
    unseen = await of.predict("chat", [plain], change, Load())
    of.learn("chat", [plain, quantized()], plain.window.end_s)
    seen_before = await of.predict("chat", [plain], change, Load())
    off, off_before = (abs(log(told.figures[Figure.ITL_MEAN].value / came.mean)) for told in (seen_before, unseen))
    assert off_before > 0.1
    assert off < off_before / 2
    assert MEASURED in seen_before.notes
    assert MEASURED not in unseen.notes
    unchanged = await of.predict("chat", [plain], ((Knob.MAX_NUM_SEQS, 16),), Load())
    assert MEASURED not in unchanged.notes


def test_after_a_look_that_told_nothing_the_next_one_teaches() -> None:
    """At the first look at a server, a canary's too, there may be a single scrape."""
    knowledge = MemoryKnowledge()
    of = Foresight(knowledge, QUICK)
    of.learn("chat", [replica(lifetime(seen().snapshots[0]))], 1000.0)
    of.learn("chat", [replica()], 1030.0)
    assert [learned.windows for learned in knowledge._known.values()] == [1]


def test_a_window_that_tells_nothing_teaches_nothing() -> None:
    knowledge = MemoryKnowledge()
    of = Foresight(knowledge, QUICK)
    of.learn("chat", [], 0.0)
    of.learn("chat", [replica(lifetime(seen().snapshots[-1]))], 0.0)
    assert knowledge._known == {}


@pytest.mark.parametrize(
    ("sibling", "types"),
    [("kv_starved_kvfp8", DataTypes(kv_bytes=1.0)), ("kv_starved_wfp8", DataTypes(weight_bytes=1.0))],
)
def test_two_recordings_show_about_what_the_kernel_database_of_their_gpu_says(sibling: str, types: DataTypes) -> None:
    folders = [WHOLE / "vllm-0.26.0-h200" / name for name in ("kv_starved", sibling)]
    if not all(folder.exists() for folder in folders):
        pytest.skip("these recordings are not at hand")
    both = []
    for folder in folders:
        of = read_recording(folder)
        both.append(Replica(*view(of), of.launch, of.machine))
    asking = Foresight(MemoryKnowledge(), QUICK)
    asking.learn("chat", both, both[0].window.end_s)
    found = asking._case("chat", both[0], both[0].window.end_s).ratios_to(types)
    known = ratios(DataTypes(), types)
    assert astuple(found.ratio) == pytest.approx(astuple(known.ratio), rel=0.05)
    assert sum(found.log_sd.values()) < sum(known.log_sd.values())
