from perfagent.domain.knob import Knob, LaunchConfig
from perfagent.engines import effective


def test_a_hardware_dependent_default_is_known_from_below_once_the_flags_are_known() -> None:
    config = effective("vllm", LaunchConfig(("--max-model-len=4096",)), {}, {}, "0.33.0")
    assert config.value(Knob.MAX_NUM_SEQS) is None
    assert config.at_least[Knob.MAX_NUM_SEQS] == 128


def test_without_any_flag_told_nothing_is_assumed_to_be_at_its_default() -> None:
    assert Knob.MAX_NUM_SEQS not in effective("vllm", LaunchConfig(), {}, {}, "0.33.0").at_least


def test_a_flag_that_is_told_leaves_no_default_behind() -> None:
    config = effective("vllm", LaunchConfig(("--max-num-seqs=8",)), {}, {}, "0.33.0")
    assert config.value(Knob.MAX_NUM_SEQS) == 8
    assert Knob.MAX_NUM_SEQS not in config.at_least
