"""What a server's own endpoints tell of its hardware and model."""

import pytest

from perfagent import engines
from perfagent.engines.spec import Hosted

LISTED = "GPU 0: NVIDIA H100 80GB HBM3\nGPU 1: NVIDIA H100 80GB HBM3"


def vllm(gpus: object = LISTED, **parallel: object) -> dict[str, object]:
    return {
        "/server_info?config_format=json": {
            "vllm_config": {"parallel_config": parallel},
            "system_env": {"nvidia_gpu_models": gpus},
        }
    }


def test_vllm_tells_its_gpus_and_how_many_share_the_work_in_development_mode() -> None:
    told = engines.hosted("vllm", vllm(tensor_parallel_size=2, pipeline_parallel_size=2))
    assert (told.hardware, told.count) == ("NVIDIA H100 80GB HBM3", 4)
    assert engines.hosted("vllm", vllm()).count == 1


def test_of_several_kinds_of_gpus_nobody_knows_which_one_it_is() -> None:
    assert engines.hosted("vllm", vllm(f"{LISTED}\nGPU 2: NVIDIA L4")).hardware == ""


def test_vllms_model_is_what_its_weights_were_loaded_from_not_what_it_is_called() -> None:
    models = [{"id": "chat", "root": "Qwen/Qwen2.5-7B-Instruct"}, {"id": "sql", "root": "/lora", "parent": "chat"}]
    assert engines.hosted("vllm", {"/v1/models": {"data": models}}).model == "Qwen/Qwen2.5-7B-Instruct"
    assert engines.hosted("vllm", {"/v1/models": {"data": [*models, {"id": "b", "root": "b"}]}}).model == ""


@pytest.mark.parametrize("path", ["/server_info", "/get_server_info"])
def test_sglang_names_accelerator_and_model_and_no_secret_is_taken(path: str) -> None:
    loads = {"version": "0.5.23", "accelerator": "NVIDIA H200", "num_accelerators": 2, "loads": []}
    info = {"model_path": "Qwen/Qwen2.5-7B-Instruct", "api_key": "sk-1", "admin_api_key": "sk-2"}
    told = engines.hosted("sglang", {path: info, "/v1/loads": loads})
    assert told == Hosted("NVIDIA H200", 2, "Qwen/Qwen2.5-7B-Instruct")
    assert "sk-" not in repr(told)


def test_tgi_names_its_model_and_old_releases_whether_there_is_a_gpu() -> None:
    assert engines.hosted("tgi", {"/info": {"model_id": "m", "model_device_type": "cpu"}}) == Hosted("cpu", 1, "m")
    assert engines.hosted("tgi", {"/info": {"model_id": "m"}}) == Hosted(model="m")


@pytest.mark.parametrize("engine", engines.ENGINES)
@pytest.mark.parametrize("odd", [None, [], "text", 5, {}, {"data": [5], "system_env": [], "accelerator": 5}])
def test_an_odd_answer_tells_nothing(engine: str, odd: object) -> None:
    assert engines.hosted(engine, dict.fromkeys(engines.endpoints(engine), odd)) == Hosted()
