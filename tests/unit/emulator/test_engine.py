"""A replica's life: starting, serving, draining, failing."""

from perfagent.domain.knob import LaunchConfig
from perfagent.emulator.engine import EmulatedEngine, State, Timing
from perfagent.emulator.process import Process, Refusal
from perfagent.twin import Request
from support.fleets import machine

TIMING = Timing(startup_s=40, compile_s=20, exit_s=10, drain_s=30)
PLAIN = LaunchConfig()
SHORT = LaunchConfig(("--max-model-len=8192",))
WIDER = LaunchConfig(("--max-num-seqs=64",))
BROKEN = LaunchConfig(("--gpu-memory-utilization=0.99",))


def replica(launch: LaunchConfig = PLAIN) -> EmulatedEngine:
    return EmulatedEngine("emulated-0", machine(), launch, timing=TIMING, epoch_s=1000.0)


def state(engine: EmulatedEngine) -> State:
    return engine.state


def serving(engine: EmulatedEngine) -> Process:
    assert engine.process is not None
    return engine.process


def test_it_serves_from_the_beginning() -> None:
    engine = replica()
    assert state(engine) is State.SERVING
    assert "process_start_time_seconds 1000.0" in serving(engine).page()


def test_a_configuration_that_cannot_start_has_failed_from_the_beginning() -> None:
    engine = replica(BROKEN)
    assert state(engine) is State.FAILED
    assert engine.process is None
    assert "less than desired GPU memory utilization" in str(engine.trouble)


def test_an_idle_replica_restarts_at_once_and_is_a_new_process_when_it_is_up() -> None:
    engine = replica()
    before = serving(engine)
    engine.advance(100)
    engine.apply(SHORT, 100)
    assert state(engine) is State.DRAINING
    engine.advance(101)
    assert (state(engine), engine.process) == (State.STARTING, None)
    engine.advance(139.9)
    assert state(engine) is State.STARTING
    engine.advance(140)
    assert state(engine) is State.SERVING
    assert serving(engine) is not before
    assert "process_start_time_seconds 1100.0" in serving(engine).page()
    assert engine.restarts == 1


def test_the_same_configuration_again_changes_nothing() -> None:
    engine = replica()
    before = serving(engine)
    engine.apply(LaunchConfig(), 1)
    engine.advance(2)
    assert serving(engine) is before
    engine.apply(SHORT, 2)
    engine.advance(10)
    engine.apply(SHORT, 10)
    engine.advance(42)
    assert state(engine) is State.SERVING
    assert engine.restarts == 1


def test_running_requests_may_finish_and_new_ones_are_turned_away_while_it_drains() -> None:
    engine = replica()
    assert engine.offer(Request("a", 0.0, 100, 400)) is None
    engine.advance(1)
    engine.apply(SHORT, 1)
    engine.advance(2)
    assert state(engine) is State.DRAINING
    assert isinstance(engine.offer(Request("b", 2.0, 100, 10)), Refusal)
    engine.advance(10)
    assert state(engine) is State.STARTING
    [second] = [sums for sums in engine.clients.between(0, 60) if sums.finished]
    assert second.lost == 0


def test_what_is_not_finished_when_draining_takes_too_long_is_cut_off() -> None:
    engine = replica()
    engine.offer(Request("a", 0.0, 100, 20_000))
    engine.advance(1)
    engine.apply(SHORT, 1)
    engine.advance(30.9)
    assert state(engine) is State.DRAINING
    engine.advance(31)
    assert state(engine) is State.STARTING
    assert sum(sums.lost for sums in engine.clients.between(0, 60)) == 1


def test_batch_limits_that_it_never_ran_with_are_compiled_for_once() -> None:
    engine = replica()
    engine.apply(WIDER, 0)
    engine.advance(59)
    assert state(engine) is State.STARTING
    engine.advance(61)
    assert state(engine) is State.SERVING
    for launch, up_s in ((PLAIN, 141), (WIDER, 241)):
        engine.apply(launch, up_s - 41)
        engine.advance(up_s)
        assert state(engine) is State.SERVING


def test_a_configuration_that_cannot_start_fails_after_a_while_and_another_one_helps() -> None:
    engine = replica()
    engine.apply(BROKEN, 0)
    engine.advance(5)
    assert state(engine) is State.STARTING
    engine.advance(20)
    assert state(engine) is State.FAILED
    assert "Free memory" in str(engine.trouble)
    engine.apply(PLAIN, 20)
    engine.advance(61)
    assert (state(engine), engine.trouble) == (State.SERVING, None)


def test_a_failed_replica_tries_again_when_told_the_same_again() -> None:
    engine = replica()
    engine.fail_starts(1)
    engine.apply(SHORT, 0)
    engine.advance(20)
    assert state(engine) is State.FAILED
    assert str(engine.trouble).startswith("emulated fault")
    engine.apply(SHORT, 20)
    engine.advance(61)
    assert state(engine) is State.SERVING


def test_another_configuration_while_it_starts_begins_the_start_anew() -> None:
    engine = replica()
    engine.apply(SHORT, 0)
    engine.advance(30)
    engine.apply(PLAIN, 30)
    engine.advance(69)
    assert state(engine) is State.STARTING
    engine.advance(71)
    assert serving(engine).launch == PLAIN


def test_another_configuration_while_it_drains_is_the_one_that_starts() -> None:
    engine = replica()
    engine.offer(Request("a", 0.0, 100, 400))
    engine.apply(SHORT, 0.5)
    engine.advance(1)
    engine.apply(PLAIN, 1)
    engine.advance(60)
    assert serving(engine).launch == PLAIN
    assert engine.restarts == 1


def test_a_crash_loses_everybody_and_the_supervisor_starts_the_same_again() -> None:
    engine = replica()
    engine.offer(Request("a", 0.0, 100, 4000))
    engine.advance(2)
    engine.crash(2, comes_back=True)
    assert (state(engine), engine.process) == (State.STARTING, None)
    assert sum(sums.lost for sums in engine.clients.between(0, 5)) == 1
    engine.advance(43)
    assert state(engine) is State.SERVING
    assert serving(engine).meters.generated == 0


def test_without_a_supervisor_it_stays_down() -> None:
    engine = replica()
    engine.crash(2, comes_back=False)
    engine.advance(1000)
    assert state(engine) is State.FAILED


def test_a_slow_replica_stays_slow_over_a_restart() -> None:
    engine = replica()
    engine.slow_down(3.0)
    engine.apply(SHORT, 0)
    engine.advance(50)
    engine.offer(Request("a", 50.0, 100, 100))
    engine.advance(100)
    slow = next(sums.e2e_s for sums in engine.clients.between(50, 100) if sums.finished)
    plain = replica()
    plain.offer(Request("a", 0.0, 100, 100))
    plain.advance(50)
    usual = next(sums.e2e_s for sums in plain.clients.between(0, 50) if sums.finished)
    assert 2.9 < slow / usual < 3.1
