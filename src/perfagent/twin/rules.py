"""What an engine's scheduler does, as data: one set of rules covers vLLM, SGLang and TGI."""

from dataclasses import dataclass

from perfagent.twin.workload import Request


@dataclass(frozen=True, slots=True)
class SchedulerRules:
    """Limits and habits of one scheduler.

    `kv_blocks` counts blocks that requests can have (vLLM keeps one of its `num_gpu_blocks` for itself).
    `async_scheduling`: a step is planned while its predecessor runs, so an arrival joins one step later and a
    finished sequence keeps its slot one step longer.
    `mixed`: prompts share a step with decoding sequences (vLLM). Without it prompts go first and alone, and decoding
    waits (SGLang, TGI).
    `reserve_output_ratio`: share of the output still to come, of all running requests, that must fit beside a new
    one. 0 admits on the prompt alone and preempts later (vLLM), 1 never preempts (TGI); SGLang sits in between.
    """

    max_num_seqs: int
    max_num_batched_tokens: int
    kv_blocks: int
    block_size: int = 16
    prefix_caching: bool = True
    chunked_prefill: bool = True
    async_scheduling: bool = True
    mixed: bool = True
    reserve_output_ratio: float = 0.0

    def __post_init__(self) -> None:
        if min(self.max_num_seqs, self.max_num_batched_tokens, self.kv_blocks, self.block_size) < 1:
            raise ValueError("a scheduler needs at least one sequence, token, block and token per block")
        if not 0 <= self.reserve_output_ratio <= 1:
            raise ValueError("reserve_output_ratio is a share")

    @property
    def seats(self) -> int:
        """Requests that can run together; in a mixed step each needs a token, so vLLM lowers its default to fit."""
        return min(self.max_num_seqs, self.max_num_batched_tokens) if self.mixed else self.max_num_seqs

    def takes(self, request: Request) -> bool:
        """Whether the request could ever be served: it fits in the KV cache, and without chunking in one step."""
        longest = request.prompt_tokens + request.output_tokens - 1
        fits = -(-longest // self.block_size) <= self.kv_blocks
        return fits and (self.chunked_prefill or longest <= self.max_num_batched_tokens)

    @property
    def kv_capacity_tokens(self) -> int:
        """Tokens whose attention state fits."""
        return self.kv_blocks * self.block_size
