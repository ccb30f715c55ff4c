"""Findings → proposals: KV cache, quantization and batching."""
