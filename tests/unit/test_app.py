from pathlib import Path

import pytest

from perfagent.app import _prompts
from perfagent.domain.errors import InvalidInput


def test_the_operators_prompts_are_read_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "Wie spät ist es?"}\n', encoding="utf-8")
    assert _prompts(path) == ("Wie spät ist es?",)
    assert _prompts(None) == ()


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"What time is it?"])
def test_prompts_that_cannot_be_read_are_refused_at_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "prompts.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match="prompts"):
        _prompts(path)
