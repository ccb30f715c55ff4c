import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.emulator.hardware import GIB, gpu
from perfagent.twin.hardware import GPUS


def test_every_gpu_that_the_twin_knows_can_be_emulated() -> None:
    for name, hardware in GPUS.items():
        assert gpu(name).hardware == hardware
        assert gpu(name).memory_bytes >= 16 * GIB


def test_only_ada_hopper_and_later_multiply_8_bit_floats() -> None:
    assert gpu("h100").fp8
    assert not gpu("a100-80").fp8


def test_a_gpu_without_a_data_sheet_is_refused() -> None:
    with pytest.raises(InvalidInput, match="unknown GPU 'h1000'; known are b200"):
        gpu("h1000")
