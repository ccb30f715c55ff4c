"""What a fit and a minute in the twin cost, on a recording of a real server."""

from statistics import median
from time import process_time

from perfagent.collectors.recording import read_recording, view
from perfagent.forecast import Forecaster, case
from perfagent.forecast.accounting import accounts
from perfagent.forecast.fitted import expectation
from perfagent.forecast.predict import Case
from perfagent.twin.fit import fit
from perfagent.twin.interval import merged
from support.captures import FIXTURES

LOOPS = 20


def known(name: str) -> Case:
    recording = read_recording(FIXTURES / "vllm-0.26.0-h200" / name)
    window, config = view(recording)
    return case(window, config, recording.launch, recording.machine)


def test_a_fit_and_a_simulated_minute_beside_reading_the_recording() -> None:
    for name in ("chat_healthy", "kv_starved"):
        start = process_time()
        of = known(name)
        reading_s = process_time() - start
        rows = merged(accounts(of.window, of.server.rules, of.demand.pairs_per_token))
        prior = expectation(of.server.machine, of.server.types)
        fits, runs, asker = [], [], Forecaster(of)
        for turn in range(LOOPS):
            start = process_time()
            assert fit(rows, prior) is not None
            fits.append(process_time() - start)
            start = process_time()
            asker.after(turn, of.server, of.demand)
            runs.append((process_time() - start) * 60 / of.demand.until_s)
        fit_s, minute_s = median(fits), median(runs)
        print(
            f"\n{name}: read and understood in {1000 * reading_s:.0f} ms; a fit {1000 * fit_s:.0f} ms, "
            f"{fit_s / reading_s:.2f} of that; a simulated minute {1000 * minute_s:.0f} ms, "
            f"{60 / minute_s:.0f}× real time"
        )
        assert fit_s < reading_s
        assert 60 / minute_s > 200
