from pathlib import Path

import pytest

from perfagent.actuators.process.engine import engine_process
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.service import replica

HERE = Path("/")
TARGET = replica("chat", "http://127.0.0.1:8101")
COMMAND = ("vllm", "serve", "m", "--port", "{port}")


def test_the_port_is_filled_in_and_flags_follow_the_command() -> None:
    one = engine_process(TARGET, "vllm", COMMAND, ["--max-num-seqs", "2"], {}, folder=HERE)
    assert one.argv(one.launch) == ("vllm", "serve", "m", "--port", "8101", "--max-num-seqs", "2")


def test_a_command_that_tells_no_port_is_refused() -> None:
    with pytest.raises(InvalidInput, match="port"):
        engine_process(TARGET, "vllm", ("vllm", "serve"), [], {}, folder=HERE)


def test_only_variables_that_are_settings_are_part_of_how_it_is_launched() -> None:
    env = {"HF_TOKEN": "secret", "MAX_BATCH_SIZE": "8", "PATH": "/bin"}
    one = engine_process(TARGET, "tgi", COMMAND, [], env, folder=HERE)
    assert one.launch == LaunchConfig((), (("MAX_BATCH_SIZE", "8"),))
    assert dict(one.environment(one.launch)) == env
    assert "secret" not in repr(one)


@pytest.mark.parametrize(
    "lead", [("vllm",), ("/usr/bin/python3", "/usr/bin/vllm"), ("/usr/bin/env", "python3", "vllm")]
)
def test_what_a_process_was_started_with_is_found_behind_its_interpreter(lead: tuple[str, ...]) -> None:
    one = engine_process(TARGET, "tgi", COMMAND, [], {}, folder=HERE)
    seen = one.launch_of((*lead, *one.command[1:], "--a", ""), (("PATH", "x"), ("MAX_BATCH_SIZE", "8")))
    assert seen == LaunchConfig(("--a", ""), (("MAX_BATCH_SIZE", "8"),))


def test_a_title_in_place_of_a_command_line_tells_nothing() -> None:
    one = engine_process(TARGET, "vllm", COMMAND, [], {}, folder=HERE)
    assert one.launch_of(("vllm: worker",), ()) is None
    assert one.launch_of((), ()) is None
