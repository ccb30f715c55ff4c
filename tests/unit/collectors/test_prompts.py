from pathlib import Path

import pytest

from perfagent.collectors.prompts import prompts_in
from perfagent.domain.errors import InvalidInput


def test_prompts_are_read_from_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "Wie spät ist es?"}\n', encoding="utf-8")
    assert prompts_in(path) == ("Wie spät ist es?",)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"What time is it?"])
def test_prompts_that_cannot_be_read_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "prompts.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match="prompts"):
        prompts_in(path)
