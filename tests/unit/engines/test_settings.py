import pytest

from perfagent import engines
from perfagent.domain.knob import EffectiveConfig, Knob, KnobValue, LaunchConfig, Source
from support.pages import FIXTURES, by_reference


def effective(
    engine: str,
    *flags: str,
    env: tuple[tuple[str, str], ...] = (),
    info: dict[str, str] | None = None,
    answers: dict[str, object] | None = None,
    release: str | None = None,
) -> EffectiveConfig:
    return engines.effective(engine, LaunchConfig(flags, env), info or {}, answers or {}, release)


@pytest.mark.parametrize(
    "flags",
    [
        ["--max-num-seqs=64"],
        ["--max-num-seqs", "64"],
        ["--max_num_seqs", "64"],
        ["--max_num_seqs=64"],
        ["--max-num-se", "64"],
        ["--max-num-seqs=8", "--max-num-seqs=64"],
        ["--max-num-active-seqs=8", "--enforce-eager", "--max-num-seqs", "64", "--seed", "1"],
    ],
)
def test_vllms_flags_are_found_as_its_parser_finds_them(flags: list[str]) -> None:
    assert effective("vllm", *flags).value(Knob.MAX_NUM_SEQS) == 64


@pytest.mark.parametrize(
    "flags",
    [
        ["--max-num", "64"],  # ambiguous: vLLM would not have started
        ["--max-num-active-seqs", "64"],
        ["--", "--max-num-seqs=64"],
        ["--max-num-seqs"],
        ["--max-num-seqs", "--enforce-eager"],
        ["--max-num-seqs=many"],
        ["-max-num-seqs=64"],
    ],
)
def test_what_does_not_say_a_knob_leaves_it_unknown(flags: list[str]) -> None:
    assert effective("vllm", *flags).value(Knob.MAX_NUM_SEQS) is None


def test_short_flags_and_pairs_of_switches_are_read() -> None:
    config = effective("vllm", "-q", "fp8", "-tp=2", "--enable-prefix-caching", "--no-enable-prefix-caching")
    assert config.value(Knob.QUANTIZATION) == "fp8"
    assert config.value(Knob.TENSOR_PARALLEL_SIZE) == 2
    assert config.value(Knob.ENABLE_PREFIX_CACHING) is False
    assert effective("vllm", "--enable-chunked-prefill", "False").value(Knob.CHUNKED_PREFILL) is False
    assert effective("vllm", "--enable-chunked-prefill", "--seed=1").value(Knob.CHUNKED_PREFILL) is True


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("8192", 8192), ("1k", 1000), ("1K", 1024), ("25.6k", 25600), ("2m", 2_000_000), ("1.5K", None), ("auto", None)],
)
def test_token_counts_may_be_written_for_people(text: str, tokens: int | None) -> None:
    assert effective("vllm", f"--max-num-batched-tokens={text}").value(Knob.MAX_NUM_BATCHED_TOKENS) == tokens


@pytest.mark.parametrize("text", ["9" * 30, "9" * 5000, "9" * 400 + "k", "9" * 5000 + "K", "9" * 15 + "T"])
def test_a_number_beyond_64_bits_is_no_setting(text: str) -> None:
    assert effective("vllm", f"--max-num-batched-tokens={text}").value(Knob.MAX_NUM_BATCHED_TOKENS) is None
    assert effective("tgi", env=(("MAX_BATCH_SIZE", text),)).value(Knob.MAX_NUM_SEQS) is None


def test_a_number_beyond_64_bits_in_an_answer_is_not_taken_over() -> None:
    told: dict[str, object] = {"max_running_requests": 10**400, "mem_fraction_static": 10**400}
    assert effective("sglang", answers={"/server_info": told}).settings == effective("sglang").settings
    labels = {"gpu_memory_utilization": "9" * 400, "block_size": "9" * 5000, "num_gpu_blocks_override": "9" * 30}
    assert effective("vllm", info=labels).settings == effective("vllm").settings


def test_a_release_with_endless_numbers_is_an_unknown_release() -> None:
    assert effective("vllm", answers={"/version": {"version": "0." + "9" * 5000}}).release is None


def test_minus_one_asks_vllm_for_the_longest_that_fits() -> None:
    config = effective("vllm", "--max-model-len", "-1", release="0.33.0")
    assert Knob.MAX_MODEL_LEN not in config.settings
    assert effective("vllm", "--max-model-len=-1", info={}, answers=MODELS).value(Knob.MAX_MODEL_LEN) == 4096


MODELS: dict[str, object] = {"/v1/models": {"data": [{"id": "m", "max_model_len": 4096}]}}


@pytest.mark.parametrize("size", ["-1", "0"])
def test_a_chunk_size_given_as_off_is_chunked_prefill_off(size: str) -> None:
    config = effective("sglang", "--chunked-prefill-size", size)
    assert config.value(Knob.CHUNKED_PREFILL) is False
    assert Knob.MAX_NUM_BATCHED_TOKENS not in config.settings
    assert Knob.MAX_NUM_BATCHED_TOKENS not in config.at_least
    resolved = effective("sglang", "--chunked-prefill-size", size, answers={"/server_info": SERVER_INFO})
    assert (resolved.value(Knob.CHUNKED_PREFILL), resolved.value(Knob.MAX_NUM_BATCHED_TOKENS)) == (True, 8192)


def test_sglang_takes_no_underscores() -> None:
    assert effective("sglang", "--max_running_requests=2").value(Knob.MAX_NUM_SEQS) is None
    assert effective("sglang", "--max-running=2").value(Knob.MAX_NUM_SEQS) == 2


def test_switches_that_are_only_present_or_not() -> None:
    assert effective("sglang", "--disable-radix-cache").value(Knob.ENABLE_PREFIX_CACHING) is False
    assert effective("sglang", "--enable-metrics").value(Knob.ENABLE_PREFIX_CACHING) is True
    assert effective("sglang", "--enable-mixed-chunk").value(Knob.MIXED_CHUNK) is True


def test_tgis_environment_speaks_where_the_command_line_does_not() -> None:
    env = (("MAX_BATCH_PREFILL_TOKENS", "2048"), ("PREFIX_CACHING", "0"), ("MAX_CONCURRENT_REQUESTS", "64"))
    config = effective("tgi", "--max-concurrent-requests", "256", env=env)
    assert config.value(Knob.MAX_NUM_BATCHED_TOKENS) == 2048
    assert config.value(Knob.ENABLE_PREFIX_CACHING) is False
    assert config.value(Knob.MAX_CONCURRENT_REQUESTS) == 256
    assert effective("tgi", "--max-batch", "3").value(Knob.MAX_NUM_SEQS) is None


@pytest.mark.parametrize(("release", "share"), [("0.19.1", 0.9), ("0.20.0", 0.92), ("0.33.0", 0.92), (None, None)])
def test_a_default_is_the_releases_own_and_unknown_with_it(release: str | None, share: float | None) -> None:
    assert effective("vllm", "--seed=1", release=release).value(Knob.GPU_MEMORY_UTILIZATION) == share


def test_hardware_decides_some_defaults_so_they_are_unknown() -> None:
    config = effective("vllm", "--seed=1", release="0.33.0")
    assert config.value(Knob.MAX_NUM_SEQS) is None
    assert config.value(Knob.MAX_NUM_BATCHED_TOKENS) is None


def test_with_a_configuration_file_no_default_is_assumed() -> None:
    assert effective("vllm", "--config=/etc/vllm.yaml", "--max-num-seqs=8", release="0.33.0").settings.keys() == {
        Knob.MAX_NUM_SEQS
    }


def test_what_the_server_tells_wins_over_its_flags() -> None:
    config = effective(
        "vllm", "--gpu-memory-utilization=0.9", info={"gpu_memory_utilization": "0.25"}, release="0.26.0"
    )
    assert config.value(Knob.GPU_MEMORY_UTILIZATION) == 0.25
    assert config.settings[Knob.GPU_MEMORY_UTILIZATION].source is Source.READ_BACK


def test_vllms_labels_are_python_text() -> None:
    page = by_reference((FIXTURES / "engines/vllm/0.32.0-cpu-blocks-override.prom").read_text())
    info = engines.read("vllm", page, target="r1", at_s=0.0).info
    told = effective("vllm", "--num-gpu-blocks-override=40", info=dict(info), release="0.32.0")
    assert {knob: told.value(knob) for knob in CPU_SETTINGS} == CPU_SETTINGS
    assert Knob.KV_OFFLOADING_GIB not in told.settings


CPU_SETTINGS: dict[Knob, KnobValue] = {
    Knob.GPU_MEMORY_UTILIZATION: 0.92,
    Knob.KV_CACHE_DTYPE: "auto",
    Knob.ENABLE_PREFIX_CACHING: True,
    Knob.BLOCK_SIZE: 128,
    Knob.KV_CACHE_TOKENS: 40,
    Knob.KV_CACHE_MEMORY_BYTES: 1073741824,
}


def test_vllms_endpoints_tell_version_length_and_in_dev_mode_the_scheduler() -> None:
    answers: dict[str, object] = {
        "/version": {"version": "0.33.0"},
        "/v1/models": {"data": [{"id": "m", "max_model_len": 4096}, {"id": "lora", "parent": "m", "max_model_len": 1}]},
        "/server_info?config_format=json": {
            "vllm_config": {
                "scheduler_config": {"max_num_seqs": 256, "max_num_batched_tokens": 2048},
                "model_config": {"quantization": None},
                "parallel_config": {"tensor_parallel_size": 2},
            },
            "vllm_env": {"SECRET": "x"},
        },
    }
    config = effective("vllm", "--max-num-seqs=1024", answers=answers)
    assert config.release == "0.33.0"
    assert config.value(Knob.MAX_MODEL_LEN) == 4096
    assert config.value(Knob.MAX_NUM_SEQS) == 256
    assert config.value(Knob.MAX_NUM_BATCHED_TOKENS) == 2048
    assert config.value(Knob.TENSOR_PARALLEL_SIZE) == 2
    assert Knob.QUANTIZATION not in config.settings


SERVER_INFO: dict[str, object] = {
    "version": "0.5.23",
    "api_key": "sk-user",
    "admin_api_key": "sk-admin",
    "launch_command": "python -m sglang.launch_server --api-key sk-user",
    "max_running_requests": 512,
    "chunked_prefill_size": 8192,
    "mem_fraction_static": 0.85,
    "kv_cache_dtype": "auto",
    "disable_radix_cache": False,
    "page_size": 1,
    "max_total_tokens": None,
    "quantization": None,
    "internal_states": [{"effective_max_running_requests_per_dp": 96}, {"effective_max_running_requests_per_dp": 128}],
}


@pytest.mark.parametrize("path", ["/server_info", "/get_server_info"])
def test_sglang_tells_its_resolved_settings_and_the_limit_in_force(path: str) -> None:
    config = effective("sglang", "--max-running-requests=512", answers={path: SERVER_INFO})
    assert config.release == "0.5.23"
    assert config.value(Knob.MAX_NUM_SEQS) == 96
    assert config.value(Knob.MAX_NUM_BATCHED_TOKENS) == 8192
    assert config.value(Knob.CHUNKED_PREFILL) is True
    assert config.value(Knob.ENABLE_PREFIX_CACHING) is True
    assert config.value(Knob.GPU_MEMORY_UTILIZATION) == 0.85
    assert Knob.KV_CACHE_TOKENS not in config.settings


def test_sglangs_secrets_stay_behind() -> None:
    assert "sk-" not in repr(effective("sglang", answers={"/server_info": SERVER_INFO}))


def test_sglangs_load_report_tells_the_limit_in_force_too() -> None:
    loads = {"version": "0.5.22", "loads": [{"max_running_requests": 40, "num_running_reqs": 2}]}
    config = effective("sglang", answers={"/v1/loads": loads})
    assert (config.value(Knob.MAX_NUM_SEQS), config.release) == (40, "0.5.22")


def test_a_chunk_size_of_minus_one_is_chunked_prefill_off() -> None:
    config = effective("sglang", answers={"/server_info": {"chunked_prefill_size": -1}})
    assert config.value(Knob.CHUNKED_PREFILL) is False
    assert config.value(Knob.MAX_NUM_BATCHED_TOKENS) is None


def test_tgi_tells_its_limits_and_nothing_of_its_batch() -> None:
    info = {"version": "3.3.7", "max_concurrent_requests": 64, "max_total_tokens": 4096, "max_input_tokens": 4095}
    config = effective("tgi", answers={"/info": info})
    assert config.release == "3.3.7"
    assert config.value(Knob.MAX_CONCURRENT_REQUESTS) == 64
    assert config.value(Knob.MAX_MODEL_LEN) == 4096
    assert config.value(Knob.MAX_NUM_BATCHED_TOKENS) is None


@pytest.mark.parametrize(
    "odd", [[], "text", None, {"data": "x"}, {"vllm_config": {"scheduler_config": [1]}}, {"loads": [7]}]
)
@pytest.mark.parametrize("engine", sorted(engines.ENGINES))
def test_an_answer_of_another_shape_tells_nothing(engine: str, odd: object) -> None:
    answers = dict.fromkeys(engines.endpoints(engine), odd)
    assert effective(engine, answers=answers).settings == effective(engine).settings


def test_a_value_of_the_wrong_type_is_not_taken_over() -> None:
    config = effective("sglang", answers={"/server_info": {"max_running_requests": "all", "page_size": True}})
    assert Knob.MAX_NUM_SEQS not in config.settings
    assert Knob.BLOCK_SIZE not in config.settings


def test_a_build_of_no_known_release_is_an_unknown_release() -> None:
    assert effective("vllm", answers={"/version": {"version": "dev"}}).release is None
    assert effective("vllm", answers={"/version": {"version": "dev"}}, release="0.26.0").release == "0.26.0"
