"""Findings → proposals: KV cache, quantization and batching, by rules of thumb or by asking the twin."""

from perfagent.optimizers.candidates import TUNABLE, Promoted
from perfagent.optimizers.propose import RULES, advise, propose
from perfagent.optimizers.search import THOROUGH, Effort, Tuned, search

__all__ = ["RULES", "THOROUGH", "TUNABLE", "Effort", "Promoted", "Tuned", "advise", "propose", "search"]
