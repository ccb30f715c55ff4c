import json
import shutil
from pathlib import Path

import pytest

from perfagent.bench.look import OWNERS, look, write_stripped
from perfagent.bench.recorded import diagnose_recorded, labelled
from perfagent.domain.errors import InvalidInput
from support.captures import FIXTURES

RECORDINGS = FIXTURES / "vllm-0.26.0-h200"


def relabelled(to: Path, name: str, accept: list[str]) -> Path:
    shutil.copytree(RECORDINGS / name, to)
    meta = json.loads((to / "meta.json").read_text())
    (to / "meta.json").write_text(json.dumps(meta | {"accept": accept, "label": accept[0], "situation": accept[0]}))
    return to


def test_only_recordings_with_pages_and_a_label_are_taken(tmp_path: Path) -> None:
    kept = relabelled(tmp_path / "a" / "b", "kv_starved", ["kv_capacity"])
    (tmp_path / "no-pages").mkdir()
    (tmp_path / "no-pages" / "meta.json").write_text('{"accept": ["none"]}')
    shutil.copytree(kept, tmp_path / "no-label")
    (tmp_path / "no-label" / "meta.json").write_text("[]")
    assert labelled(tmp_path) == [kept]


def test_a_folder_without_any_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no recording"):
        labelled(tmp_path)


def test_the_label_says_what_is_right_and_never_what_is_found(tmp_path: Path) -> None:
    honest = diagnose_recorded(relabelled(tmp_path / "one", "kv_starved", ["kv_capacity", "overload"]))
    lied = diagnose_recorded(relabelled(tmp_path / "two", "kv_starved", ["batch_limit"]))
    assert honest.said == lied.said == ("kv_capacity",)
    assert honest.question.accept == {"kv_capacity", "overload"}
    assert honest.hours == lied.hours > 0


def test_what_is_diagnosed_is_stripped(tmp_path: Path) -> None:
    source = relabelled(tmp_path / "rag_is_slow", "rag_bt512", ["prefill_budget"])
    meta = json.loads((source / "meta.json").read_text()) | {"scrapes": [{"file": "000.prom", "note": "slow"}]}
    (tmp_path / "room").mkdir()
    folder = write_stripped(source, meta, tmp_path / "room")
    told = json.loads((folder / "meta.json").read_text())
    assert told.keys() <= {*OWNERS, "scrapes"}
    assert told["scrapes"] == [{"file": "000.prom"}]
    assert "rag" not in look([folder]).target


def test_a_recording_that_cannot_be_read_counts_as_wrong(tmp_path: Path) -> None:
    broken = relabelled(tmp_path / "broken", "kv_starved", ["none"])
    for page in broken.glob("*.prom"):
        page.write_text("this is no page")
    assert diagnose_recorded(broken).said == ("unreadable",)
