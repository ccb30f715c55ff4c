"""Findings → proposals: KV cache, quantization and batching."""

from perfagent.optimizers.propose import RULES, advise, propose

__all__ = ["RULES", "advise", "propose"]
