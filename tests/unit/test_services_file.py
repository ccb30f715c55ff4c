from pathlib import Path

import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.share import Share
from perfagent.services_file import read_services

CHAT = """
services:
  chat:
    engine: vllm
    slos: [{metric_name: ttft, target_value: 0.5, share: 0.95}]
    policy: {stages: [50, 100], approval: always}
    gpu: cpu
    process:
      command: [vllm, serve, small, --host, 127.0.0.1, --port, "{port}"]
      flags: [--max-num-seqs, "2"]
      env: {KV: "1", WHO: all}
      inherit: [HOME]
      replicas:
        - {port: 8101, cores: [0]}
        - {port: 8102, cores: [1, 2], env: {WHO: second}}
  watched:
    engine: tgi
    targets: ["http://10.0.0.1:80"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "services.yaml"
    path.write_text(text)
    return path


def test_services_and_how_their_engines_are_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("OTHER", "not asked for")
    declared = read_services(written(tmp_path, CHAT))
    chat, watched = declared.services
    assert [target.url for target in chat.targets] == ["http://127.0.0.1:8101", "http://127.0.0.1:8102"]
    assert (chat.actuator, watched.actuator) == ("process", "none")
    assert chat.policy.stages == (Share(50), Share(100))
    assert chat.objectives[0].share == 0.95
    assert chat.launch == LaunchConfig(("--max-num-seqs", "2"))
    first, second = declared.engines
    assert first.argv(first.launch)[-4:] == ("--port", "8101", "--max-num-seqs", "2")
    assert dict(first.env) == {"HOME": "/home/ann", "KV": "1", "WHO": "all"}
    assert dict(second.env)["WHO"] == "second"
    assert second.cores == (1, 2)
    assert first.target == chat.targets[0]
    assert first.folder == tmp_path


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("engine: vllm", "engine: other", "services.chat.engine"),
        ("cores: [0]", "cors: [0]", "services.chat.process.replicas.0.cors: Extra inputs"),
        ("port: 8102", "port: 8101", "port 8101 is given to two replicas"),
        ('"{port}"', '"8101"', "the command says {port}"),
        ("gpu: cpu", "gpu: cpu\n    actuator: emulated", "with `process` the actuator is `process`"),
        ("gpu: cpu", 'gpu: cpu\n    targets: ["http://10.0.0.2"]', "either `targets` or `process`"),
        ('targets: ["http://10.0.0.1:80"]', "gpu: cpu", "either `targets` or `process`"),
        ("command: [vllm", "command: vllm serve # [", "services.chat.process.command"),
        ('KV: "1"', "KV: 1", "services.chat.process.env.KV"),
        ("services:", "services: [", "no YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(before: str, after: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as told:
        read_services(written(tmp_path, CHAT.replace(before, after, 1)))
    assert said in str(told.value)


def test_no_value_is_told_for_it_may_be_a_secret(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as told:
        read_services(written(tmp_path, CHAT.replace('KV: "1"', "HF_TOKEN: [hf_abcdef]")))
    assert "hf_abcdef" not in str(told.value)


def test_a_file_that_is_not_there_or_too_large_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        read_services(tmp_path / "none.yaml")
    with pytest.raises(InvalidInput, match="is larger than"):
        read_services(written(tmp_path, "#" * 2**21))
