from collections.abc import Callable

from perfagent.domain.knob import LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.emulator.clients import ClientLog, seen
from perfagent.emulator.process import Process
from perfagent.emulator.setup import Machine, prepare
from perfagent.twin import Request
from support.fleets import machine


def process(*flags: str, on: Machine | None = None, clients: ClientLog | None = None) -> Process:
    of, launch = on or machine(), LaunchConfig(flags)
    return Process(of, launch, prepare(of, launch), clients or ClientLog(), at_s=0.0, started_at_s=0.0)


def test_a_request_longer_than_the_limit_is_refused_as_the_engine_does() -> None:
    for of, status in ((machine(), 400), (machine("sglang", "0.5.23"), 400), (machine("tgi", "3.3.7"), 422)):
        one = process(on=of)
        refusal = one.offer(Request("a", 0.0, 131_000, 100))
        assert refusal is not None
        assert refusal.status == status
        assert one.meters.counters[Metric.FAILED] == 1


def test_beyond_its_limit_a_server_refuses_until_there_is_room_again() -> None:
    clients = ClientLog()
    one = process("--max-concurrent-requests=3", on=machine("tgi", "3.3.7"), clients=clients)
    answers = [one.offer(Request(name, 0.0, 10, 10)) for name in "abcd"]
    assert [answer and answer.status for answer in answers] == [None, None, None, 429]
    assert one.offer(Request("e", 60.0, 10, 10)) is None
    assert one.meters.counters[Metric.REJECTED] == seen([clients], 0, 60).refused == 1


class _Sluggish:
    """A second per step, whatever is in it."""

    def __init__(self, each_s: float = 1.0) -> None:
        self._each_s = each_s

    def seconds(self, tokens: int, sequences: int, context_tokens: int, pairs: float) -> float:
        return self._each_s

    def decoding(self, sequences: int) -> Callable[[int], float]:
        return lambda _: self._each_s

    def scaled(self, factor: float) -> "_Sluggish":
        return _Sluggish(self._each_s * factor)


def test_steps_may_take_something_else_than_the_setup_says() -> None:
    of, launch = machine(), LaunchConfig()
    one = Process(of, launch, prepare(of, launch), ClientLog(), at_s=0.0, started_at_s=0.0, pace=_Sluggish())
    one.offer(Request("a", 0.0, 10, 10))
    one.advance(5.5)
    assert one.generated("a") == 5
    one.slow_down(10)
    one.advance(15.0)
    assert one.generated("a") == 6


def test_an_impatient_client_goes_away_when_nothing_came_by_then() -> None:
    clients = ClientLog()
    one = process("--max-num-seqs=1", clients=clients)
    one.offer(Request("a", 0.0, 10, 1000), patience_s=5.0)
    one.offer(Request("b", 0.1, 10, 10), patience_s=5.0)
    one.advance(4.9)
    assert (one.running, one.waiting) == (1, 1)
    one.advance(5.2)
    assert (one.running, one.waiting) == (1, 0)
    one.advance(60)
    told = seen([clients], 0, 60)
    assert (told.finished, told.gave_up) == (1, 1)


def test_draining_ends_when_the_last_request_does() -> None:
    one = process()
    one.offer(Request("a", 0.0, 10, 100))
    assert one.drain(0.1) is None
    empty_s = one.drain(60)
    assert empty_s is not None
    assert 0.5 < empty_s < 2
    assert one.drain(60) == empty_s
