from dataclasses import replace

import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.emulator import Crash, CrashAtStart, Fleet, LostScrapes, SlowReplica, State, Timing
from perfagent.emulator.fleet import Ticket
from perfagent.emulator.process import Refusal
from support.fleets import START_S, burst, fleet, histogram, page, process, scalar, snapshot

QUICK = Timing(startup_s=10, compile_s=5, exit_s=3, drain_s=5)
WIDE = LaunchConfig(("--max-num-seqs=64",))


def state(of: Fleet, replica: int) -> State:
    return of.replicas[replica].state


def test_arrivals_are_dealt_out_evenly() -> None:
    of = fleet(replicas=3, workload=burst(6.0, until_s=20.0))
    of.advance(START_S + 60)
    finished = [scalar(snapshot(of, replica), Metric.FINISHED) for replica in range(3)]
    assert sum(finished) == len(list(burst(6.0, until_s=20.0).requests()))
    assert max(finished) - min(finished) <= 1


def test_time_does_not_run_backwards() -> None:
    of = fleet(workload=burst(6.0, until_s=20.0))
    of.advance(START_S + 10)
    before = page(of)
    of.advance(START_S + 5)
    assert (of.now_s, page(of)) == (START_S + 10, before)


def test_a_restarted_replica_gets_no_requests_until_it_serves_again() -> None:
    of = fleet("--max-num-seqs=8", replicas=2, workload=burst(10.0, until_s=100.0), timing=QUICK)
    of.advance(START_S + 30)
    of.apply(0, WIDE)
    of.apply(0, WIDE)
    of.advance(START_S + 45)
    assert state(of, 0) is State.STARTING
    assert of.scrape(0) is None
    assert of.seen(START_S + 40, START_S + 45, [0]).tokens_per_s == 0
    assert of.seen(START_S + 40, START_S + 45, [1]).tokens_per_s > 0
    of.advance(START_S + 60)
    assert state(of, 0) is State.SERVING
    assert of.replicas[0].restarts == 1
    assert 0 < scalar(snapshot(of, 0), Metric.FINISHED) < scalar(snapshot(of, 1), Metric.FINISHED)
    assert of.seen(START_S, START_S + 60).lost == 0


def test_other_flags_change_what_clients_see() -> None:
    of = fleet("--max-num-seqs=2", workload=burst(6.0, until_s=400.0), patience_s=20.0, timing=QUICK)
    of.advance(START_S + 100)
    before = of.seen(START_S + 60, START_S + 100)
    assert scalar(snapshot(of), Metric.WAITING) > 0
    of.apply(0, WIDE)
    of.advance(START_S + 200)
    after = of.seen(START_S + 160, START_S + 200)
    assert scalar(snapshot(of), Metric.WAITING) == 0
    assert before.ttft_mean_s is not None
    assert after.ttft_mean_s is not None
    assert before.ttft_mean_s > 10 > 0.2 > after.ttft_mean_s
    assert before.gave_up > 0 == after.gave_up
    assert after.tokens_per_s > 1.2 * before.tokens_per_s


def test_a_change_that_harms_harms_by_itself() -> None:
    of = fleet(workload=burst(6.0, until_s=400.0), patience_s=20.0, timing=QUICK)
    of.advance(START_S + 60)
    of.apply(0, LaunchConfig(("--max-num-seqs=2",)))
    of.advance(START_S + 160)
    good, bad = of.seen(START_S + 20, START_S + 60), of.seen(START_S + 120, START_S + 160)
    assert good.ttft_mean_s is not None
    assert bad.ttft_mean_s is not None
    assert bad.ttft_mean_s > 50 * good.ttft_mean_s


def test_when_nobody_serves_clients_are_turned_away_and_that_is_seen() -> None:
    of = fleet(workload=burst(5.0, until_s=100.0), timing=QUICK)
    of.advance(START_S + 20)
    of.apply(0, WIDE)
    of.advance(START_S + 60)
    down = of.seen(START_S + 20, START_S + 60)
    assert down.refused > 20
    assert state(of, 0) is State.SERVING


def test_a_slow_replica_is_slow_for_as_long_as_the_fault_says() -> None:
    fault = SlowReplica(1, factor=2.0, from_s=20, to_s=40)
    of = fleet(replicas=2, workload=burst(4.0, until_s=100.0), faults=[fault])
    of.advance(START_S + 60)
    ratios = []
    for start in (5, 22, 45):
        healthy, slow = (of.seen(START_S + start, START_S + start + 15, [n]).itl_mean_s for n in (0, 1))
        assert healthy is not None
        assert slow is not None
        ratios.append(slow / healthy)
    assert ratios == pytest.approx([1, 2, 1], abs=0.1)


def test_a_crash_begins_a_new_process_whose_counters_start_at_zero() -> None:
    of = fleet(workload=burst(4.0, until_s=20.0), faults=[Crash(0, at_s=10.0)], timing=QUICK)
    of.advance(START_S + 9.9)
    before = snapshot(of)
    of.advance(START_S + 15)
    assert of.scrape(0) is None
    of.advance(START_S + 40)
    after = snapshot(of)
    assert scalar(after, Metric.GENERATION_TOKENS) == 0 < scalar(before, Metric.GENERATION_TOKENS)
    assert (before.started_at_s, after.started_at_s) == (START_S, START_S + 10)
    assert of.seen(START_S, START_S + 40).lost > 0


def test_an_injected_failure_at_start_hits_a_configuration_that_is_fine() -> None:
    of = fleet(faults=[CrashAtStart(0, times=1)], timing=QUICK)
    of.apply(0, WIDE)
    of.advance(START_S + 30)
    assert state(of, 0) is State.FAILED
    of.apply(0, LaunchConfig())
    of.advance(START_S + 60)
    assert state(of, 0) is State.SERVING


def test_lost_scrapes_are_a_share_of_all_and_the_same_ones_for_the_same_seed() -> None:
    lost = []
    for _ in range(2):
        of = fleet(workload=burst(1.0, until_s=5.0), faults=[LostScrapes(0, share=0.3, from_s=10, to_s=20)])
        of.advance(START_S + 5)
        assert all(of.scrape(0) for _ in range(50))
        of.advance(START_S + 15)
        lost.append([of.scrape(0) is None for _ in range(200)])
    assert lost[0] == lost[1]
    assert 40 < sum(lost[0]) < 80
    assert state(of, 0) is State.SERVING


def test_a_request_from_outside_is_followed_to_its_end() -> None:
    of = fleet()
    ticket = of.submit(0, prompt_tokens=100, output_tokens=50)
    assert isinstance(ticket, Ticket)
    of.advance(START_S + 0.2)
    assert ticket.open
    assert 5 < ticket.tokens < 50
    of.advance(START_S + 10)
    assert (ticket.open, ticket.complete, ticket.tokens) == (False, True, 50)
    assert histogram(snapshot(of), Metric.GENERATION_LENGTH).total == 50


def test_a_cancelled_request_frees_its_place() -> None:
    of = fleet()
    ticket = of.submit(0, 100, 5000)
    assert isinstance(ticket, Ticket)
    of.advance(START_S + 1)
    of.cancel(ticket)
    of.cancel(ticket)
    assert not ticket.open
    assert process(of).running == 0


def test_a_request_that_its_server_did_not_survive_is_lost() -> None:
    of = fleet(faults=[Crash(0, at_s=1.0)])
    ticket = of.submit(0, 100, 5000)
    assert isinstance(ticket, Ticket)
    of.advance(START_S + 2)
    assert (ticket.open, ticket.complete) == (False, False)
    assert isinstance(of.submit(0, 100, 10), Refusal)


def test_a_fleet_has_replicas_and_faults_name_one_of_them() -> None:
    with pytest.raises(InvalidInput):
        fleet(replicas=0)
    with pytest.raises(InvalidInput, match="names replica 2 of 2"):
        fleet(replicas=2, faults=[Crash(2, at_s=1.0)])


def test_figures_do_not_depend_on_when_the_fleet_began() -> None:
    pages = []
    for start_s in (0.0, START_S):
        of = fleet(workload=replace(burst(6.0, until_s=20.0)), start_s=start_s)
        of.advance(start_s + 15)
        pages.append([line for line in page(of).splitlines() if "process_start_time" not in line])
    assert pages[0] == pages[1]
