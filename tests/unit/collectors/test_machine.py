import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.collectors.machine import found, gpu_named, machine, shape, shape_told
from perfagent.domain.errors import InvalidInput
from perfagent.domain.machine import CPU, Machine, ModelShape
from perfagent.engines.spec import Hosted
from perfagent.twin.gpus import NAMES
from perfagent.twin.models import PUBLISHED

LLAMA = "Llama architecture, 40 layers, hidden 5120, 40 heads, 8 KV heads, head dim 128 (11B parameters in bf16)"
CARD = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128_256,
}
"""Of Llama 3.1 8B, from https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct."""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1x NVIDIA H200 (141 GB)", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("NVIDIA A100-SXM4-80GB", "a100-80"),
        ("NVIDIA A100 80GB PCIe", "a100-80-pcie"),
        ("A100 80 GB", "a100-80"),
        ("A100 80 GB PCIe", "a100-80-pcie"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla T4", "t4"),
        ("2 cores of a CPU", CPU),
        ("RTX 6000, 64 CPU cores", None),
        ("a laptop", None),
        ("", None),
    ],
)
def test_a_gpu_is_told_by_its_name_and_form(text: str, name: str | None) -> None:
    assert gpu_named(text) == name


@pytest.mark.parametrize(("text", "name"), [("NVIDIA A100-SXM4-40GB", "a100-40"), ("NVIDIA A100", None)])
def test_an_a100_has_80_or_40_gigabytes_and_without_them_it_is_not_known_which(text: str, name: str | None) -> None:
    assert gpu_named(text) == name


@pytest.mark.parametrize("name", NAMES)
def test_every_short_name_means_its_gpu(name: str) -> None:
    assert gpu_named(name) == name
    assert gpu_named(name.upper().replace("-", " ")) == name


def test_a_word_that_only_holds_a_gpu_s_name_is_none() -> None:
    assert gpu_named("XL40SY, gh200x") is None


@pytest.mark.parametrize(
    ("hardware", "gpus"),
    [
        ("8x NVIDIA H200", 8),
        ("4 × NVIDIA H100", 4),
        ("NVIDIA H200", 1),
        ("0x NVIDIA H200", 1),
        ("99999x NVIDIA H200", 1),
        ("2x2 NVIDIA H200", 1),
    ],
)
def test_the_number_of_gpus_stands_before_their_name(hardware: str, gpus: int) -> None:
    assert machine(hardware, None).gpus == gpus


@pytest.mark.parametrize("strange", [None, 5, [], {"gpu": "h200"}])
def test_what_is_not_understood_is_not_known(strange: object) -> None:
    assert machine(strange, strange) == Machine()


def test_a_sentence_about_a_model_tells_its_shape() -> None:
    found = shape(LLAMA)
    assert found == ModelShape(params=11e9, layers=40, kv_heads=8, head_dim=128, width=5120)
    assert shape("7.6 B parameters, 28 layers, 4 KV heads, head_dim=128") == ModelShape(7.6e9, 28, 4, 128)


@pytest.mark.parametrize("part", ["40 layers", "8 KV heads", "head dim 128", "11B parameters"])
def test_a_sentence_that_leaves_something_out_tells_no_shape(part: str) -> None:
    assert shape(LLAMA.replace(part, "…")) is None


def test_a_model_s_card_tells_its_shape_and_its_parameters() -> None:
    found = shape(CARD)
    assert found is not None
    assert found.params == pytest.approx(8.03e9, rel=0.005)
    assert (found.layers, found.kv_heads, found.head_dim, found.width) == (32, 8, 128, 4096)


def test_without_kv_heads_every_head_has_its_own_and_a_head_dimension_may_be_said() -> None:
    alone = shape({name: value for name, value in CARD.items() if name != "num_key_value_heads"})
    assert alone is not None
    assert alone.kv_heads == 32
    said = shape({**CARD, "head_dim": 256})
    assert said is not None
    assert (said.head_dim, said.width) == (256, 32 * 256)


@pytest.mark.parametrize("broken", [{}, {**CARD, "num_hidden_layers": "many"}, {**CARD, "num_attention_heads": 0}])
def test_a_card_that_is_none_tells_no_shape(broken: dict[str, object]) -> None:
    assert shape(broken) is None


@given(
    st.dictionaries(
        st.sampled_from(sorted(CARD)),
        st.one_of(st.integers(-5, 5), st.floats(), st.text("a1-.", max_size=5), st.none(), st.lists(st.integers())),
    )
)
def test_no_card_whatever_breaks_the_reading(card: dict[str, object]) -> None:
    found = shape({**CARD, **card})
    assert found is None or found.params > 0


def test_people_say_a_shape_field_by_field() -> None:
    told = shape_told("params=8e9,layers=32,kv_heads=8,head_dim=128")
    assert told == ModelShape(params=8e9, layers=32, kv_heads=8, head_dim=128)
    assert shape_told("params=8e9,layers=32,kv_heads=8,head_dim=128,width=4096").width == 4096


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("params=8e9,layers=32,kv_heads=8", "is no model: say params=8e9"),
        ("params=many,layers=32,kv_heads=8,head_dim=128", "is no model"),
        ("params=inf,layers=32,kv_heads=8,head_dim=128", "is no model"),
        ("params=nan,layers=32,kv_heads=8,head_dim=128", "is no model"),
        ("params=0,layers=32,kv_heads=8,head_dim=128", "a model has parameters"),
        ("params=8e9,layers=0,kv_heads=8,head_dim=128", "a model has layers"),
        ("params=8e9,layers=32,kv_heads=8,head_dim=128,experts=8", "a model has no 'experts'"),
        ("", "a model has no ''"),
    ],
)
def test_a_shape_that_is_none_is_refused_with_what_to_say(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        shape_told(text)


def test_the_fields_of_a_shape_tell_it() -> None:
    assert shape({"params": 8e9, "layers": 32, "kv_heads": 8, "head_dim": 128}) == ModelShape(8e9, 32, 8, 128)
    assert shape({"params": 8e9, "layers": 32}) is None


def test_a_server_s_own_word_names_a_gpu_with_a_data_sheet_and_a_published_model() -> None:
    of = found(Hosted("NVIDIA H100 80GB HBM3", 2, "meta-llama/Llama-3.1-8B-Instruct"))
    assert (of.gpu, of.gpus, of.shape) == ("h100", 2, PUBLISHED["meta-llama/Llama-3.1-8B"])
    assert "h100" in of.gpu_from
    assert "meta-llama/Llama-3.1-8B-Instruct" in of.shape_from


@pytest.mark.parametrize(
    "told",
    [
        Hosted(),
        Hosted("Voodoo 2", 0, "/models/mine"),
        Hosted(count=99_999, model="Qwen/Qwen2.5-7B-Instruct-AWQ"),
        Hosted(model="qwen2.5-7b-instruct"),
    ],
)
def test_what_is_no_data_sheet_s_gpu_and_no_published_name_is_not_known(told: Hosted) -> None:
    assert found(told) == Machine()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_has_about_the_parameters_of_its_name(name: str) -> None:
    billions = float(name.split("-")[-2 if name.endswith("Instruct") else -1].rstrip("B"))
    of = PUBLISHED[name]
    assert of.params == pytest.approx(billions * 1e9, rel=0.1)
    assert of.width % (of.kv_heads * of.head_dim) == 0
