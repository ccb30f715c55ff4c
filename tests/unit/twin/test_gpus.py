import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.twin.gpus import GIB, gpu
from perfagent.twin.hardware import GPUS


def test_every_gpu_that_the_twin_knows_can_be_emulated() -> None:
    for name, hardware in GPUS.items():
        assert gpu(name).hardware == hardware
        assert gpu(name).memory_bytes >= 15 * GIB


def test_memory_is_what_the_driver_leaves_error_correction_takes_a_sixteenth_of_gddr() -> None:
    assert gpu("a100-80").memory_bytes == 80 * GIB
    assert 0.99 < gpu("h100").memory_bytes / (80 * GIB) < 1
    for name, sheet_gib in (("l40s", 48), ("l4", 24), ("a10", 24), ("t4", 16)):
        assert 0.93 < gpu(name).memory_bytes / (sheet_gib * GIB) < 0.965


def test_peaks_are_dense_and_bandwidths_those_of_the_form_that_has_this_memory() -> None:
    assert gpu("b200").hardware.bandwidth_bytes_per_s == 7.7e12  # 8.0 is the GB200's, with 186 GB
    assert gpu("h100-nvl").hardware.peak_flop_per_s == 835e12  # 1671 with sparsity
    assert gpu("l40s").hardware.peak_flop_per_s == 362e12  # 733 with sparsity


def test_only_ada_hopper_and_later_multiply_8_bit_floats() -> None:
    assert gpu("h100").fp8
    assert not gpu("a100-80").fp8


def test_a_gpu_without_a_data_sheet_is_refused() -> None:
    with pytest.raises(InvalidInput, match="unknown GPU 'h1000'; known are b200"):
        gpu("h1000")
