import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from perfagent.clock import VirtualClock
from perfagent.collectors.http import HttpScraper
from perfagent.collectors.recorder import Recorder
from perfagent.collectors.recording import read_recording
from perfagent.domain.errors import InvalidInput, Unreachable
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.machine import Machine
from perfagent.domain.snapshot import Target
from perfagent.twin.models import QWEN_2_5_7B
from support.api import page

URL = "http://vllm:8000"
TARGET = Target(URL, URL)
PAGE = page("vllm/0.26.0-short-of-seats")


async def recorded(folder: Path, answers: Any, **asked: float) -> int:
    with respx.mock(assert_all_called=False) as wire:
        wire.get(f"{URL}/metrics").mock(side_effect=answers)
        wire.get(url__startswith=URL).respond(404)
        clock = VirtualClock()
        async with HttpScraper(clock) as scraper:
            launch = LaunchConfig(("--max-num-seqs", "8"), (("VLLM_LOGGING_LEVEL", "INFO"),))
            recorder = Recorder(scraper, clock, folder, launch, release="0.26.0")
            return await recorder.record(TARGET, **asked)  # type: ignore[arg-type]


async def test_what_was_recorded_reads_back(tmp_path: Path) -> None:
    good = httpx.Response(200, text=PAGE)
    assert await recorded(tmp_path / "new" / "one", [good] * 4, for_s=15, every_s=5) == 4
    seen = read_recording(tmp_path / "new" / "one")
    assert (seen.engine, seen.release, seen.notes) == ("vllm", "0.26.0", ())
    assert seen.launch == LaunchConfig(("--max-num-seqs", "8"), (("VLLM_LOGGING_LEVEL", "INFO"),))
    assert [snapshot.at_s for snapshot in seen.snapshots] == [0, 5, 10, 15]
    assert (tmp_path / "new" / "one" / "000.prom").read_text() == PAGE


async def test_a_scrape_that_fails_is_a_gap_with_its_reason(tmp_path: Path) -> None:
    good = httpx.Response(200, text=PAGE)
    answers = [good, httpx.ConnectError("down"), httpx.Response(500), good]
    assert await recorded(tmp_path, answers, for_s=9, every_s=3) == 2
    assert [snapshot.at_s for snapshot in read_recording(tmp_path).snapshots] == [0, 9]
    errors = [scrape.get("error") for scrape in json.loads((tmp_path / "meta.json").read_text())["scrapes"]]
    assert [error is None for error in errors] == [True, False, False, True]
    assert "down" in errors[1]


async def test_a_server_that_is_not_there_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        await recorded(tmp_path, [httpx.ConnectError("down")])
    assert list(tmp_path.iterdir()) == []


async def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="has something in it"):
        await recorded(tmp_path, [])
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="cannot be written"):
        await recorded(tmp_path / "file", [])


async def test_a_folder_that_goes_away_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "one"

    def vanish(_request: httpx.Request) -> httpx.Response:
        folder.rmdir()
        return httpx.Response(200, text=PAGE)

    with pytest.raises(InvalidInput, match="cannot be written: No such file"):
        await recorded(folder, vanish)


@pytest.mark.parametrize(("for_s", "every_s"), [(60, 0), (60, -1), (1e9, 1), (60, float("nan"))])
async def test_a_recording_without_end_is_refused(tmp_path: Path, for_s: float, every_s: float) -> None:
    with pytest.raises(InvalidInput, match="at most"):
        await recorded(tmp_path, [], for_s=for_s, every_s=every_s)


async def test_a_recording_knows_the_machine_as_far_as_the_server_tells_it(tmp_path: Path) -> None:
    with respx.mock(assert_all_called=False) as wire:
        wire.get(f"{URL}/metrics").respond(text=PAGE)
        wire.get(f"{URL}/v1/models").respond(json={"data": [{"root": "Qwen/Qwen2.5-7B-Instruct"}]})
        gpus = {"nvidia_gpu_models": "GPU 0: NVIDIA H200"}
        wire.get(url__startswith=f"{URL}/server_info").respond(json={"system_env": gpus})
        wire.get(url__startswith=URL).respond(404)
        clock = VirtualClock()
        async with HttpScraper(clock) as scraper:
            await Recorder(scraper, clock, tmp_path).record(TARGET, for_s=5)
    assert read_recording(tmp_path).machine == Machine("h200", 1, QWEN_2_5_7B)
