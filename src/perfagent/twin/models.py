"""Shapes of published models, by the name under which they are published.

From the `config.json` on each model's card at https://huggingface.co, in 16 bits; parameters are counted from the shape
or taken from the card, to three digits. A name means its model only when it is the whole name: what is derived from a
model (quantized, merged, pruned) carries a name of its own.
"""

from perfagent.domain.machine import ModelShape

LLAMA_3_1_8B = ModelShape(params=8.03e9, layers=32, width=4096, kv_heads=8, head_dim=128)
LLAMA_3_1_70B = ModelShape(params=70.6e9, layers=80, width=8192, kv_heads=8, head_dim=128)
QWEN_2_5_7B = ModelShape(params=7.62e9, layers=28, width=3584, kv_heads=4, head_dim=128)
QWEN_2_5_14B = ModelShape(params=14.8e9, layers=48, width=5120, kv_heads=8, head_dim=128)
QWEN_2_5_32B = ModelShape(params=32.8e9, layers=64, width=5120, kv_heads=8, head_dim=128)
QWEN_2_5_72B = ModelShape(params=72.7e9, layers=80, width=8192, kv_heads=8, head_dim=128)

PUBLISHED = {
    f"{name}{tuned}": shape
    for name, shape in {
        "meta-llama/Llama-3.1-8B": LLAMA_3_1_8B,
        "meta-llama/Llama-3.1-70B": LLAMA_3_1_70B,
        "Qwen/Qwen2.5-7B": QWEN_2_5_7B,
        "Qwen/Qwen2.5-14B": QWEN_2_5_14B,
        "Qwen/Qwen2.5-32B": QWEN_2_5_32B,
        "Qwen/Qwen2.5-72B": QWEN_2_5_72B,
    }.items()
    for tuned in ("", "-Instruct")
}
