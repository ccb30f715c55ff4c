"""Recordings of real engines, as the twin needs them: their accounting, their scheduler's rules and their arrivals."""

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from math import exp, isnan, nan
from pathlib import Path
from typing import Any

from perfagent.domain.machine import ModelShape
from perfagent.twin import Request, SchedulerRules
from perfagent.twin.hardware import GPUS, Hardware
from perfagent.twin.interval import Interval

Page = dict[str, float]

SERIES = re.compile(r"^([\w:]+)(?:\{(.*)\})? (\S+)$")
SPLIT_BY = re.compile(r'mode="(\w+)"')  # the one label whose values differ in meaning (SGLang)
H200_LLAMA = ModelShape(params=11.4e9, layers=40, width=5120, kv_heads=8, head_dim=128)
SMALL_LLAMA = ModelShape(params=79e6, layers=12, width=768, kv_heads=4, head_dim=64)
TINY_LLAMA = ModelShape(params=4e6, layers=4, width=256, kv_heads=2, head_dim=64)
CPU_CORE = Hardware(bandwidth_bytes_per_s=20e9, peak_flop_per_s=0.5e12)  # a guess, to within a factor of a few


def read_page(text: str) -> tuple[Page, dict[str, str]]:
    """Values summed over labels but `mode`, and the labels of the cache configuration."""
    page: Page = {}
    cache: dict[str, str] = {}
    for name, labels, value in (match.groups() for match in map(SERIES.match, text.splitlines()) if match):
        if name.endswith("_bucket") or ("stage=" in (labels or "") and 'stage="prefill_forward"' not in labels):
            continue
        if name == "vllm:cache_config_info":
            cache = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        mode = SPLIT_BY.search(labels or "")
        key = f"{name}:{mode[1]}" if mode else name
        page[key] = page.get(key, 0.0) + float(value)
    return page, cache


@dataclass
class Recording:
    folder: Path
    meta: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.meta = json.loads((self.folder / "meta.json").read_text())

    @property
    def name(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def sglang(self) -> bool:
        return str(self.meta["engine"]) == "sglang"

    @property
    def on_gpu(self) -> bool:
        return "H200" in str(self.meta["hardware"])

    @property
    def loaded(self) -> bool:
        return bool(self.meta.get("truth", {}).get("itl_mean_s"))

    @property
    def kernels(self) -> tuple[str, ...]:
        """Recordings that agree in these share their step time."""
        types = (self.flag("--quantization") or "", self.flag("--kv-cache-dtype") or "")
        return self.meta["engine"], self.meta["version"], self.meta["hardware"], *types

    @property
    def shape(self) -> ModelShape:
        if not self.on_gpu:
            return TINY_LLAMA if self.sglang else SMALL_LLAMA
        weights, cache = (1.0 if self.flag(name) else 2.0 for name in ("--quantization", "--kv-cache-dtype"))
        return replace(H200_LLAMA, weight_bytes=weights, kv_bytes=cache)

    @property
    def hardware(self) -> Hardware:
        return GPUS["h200"] if self.on_gpu else CPU_CORE

    @cached_property
    def pages(self) -> list[tuple[Page, dict[str, str]]]:
        return [read_page(path.read_text()) for path in sorted(self.folder.glob("*.prom"))]

    def flag(self, name: str) -> str | None:
        given: dict[str, str] = dict(flag.split("=", 1) for flag in self.meta["flags"] if "=" in flag)
        return given.get(name)

    def number(self, name: str, default: int) -> int:
        return int(self.flag(name) or default)

    @property
    def rules(self) -> SchedulerRules:
        """The flags, with the defaults of release and platform."""
        if self.sglang:
            return SchedulerRules(
                max_num_seqs=self.number("--max-running-requests", 4096),
                max_num_batched_tokens=8192,
                kv_blocks=self.number("--max-total-tokens", 0),
                block_size=1,
                async_scheduling=False,
                mixed=False,
                reserve_output_ratio=0.1,
            )
        cache = next(labels for _, labels in self.pages if labels)
        return SchedulerRules(
            max_num_seqs=self.number("--max-num-seqs", 1024 if self.on_gpu else 128),
            max_num_batched_tokens=self.number("--max-num-batched-tokens", 8192 if self.on_gpu else 2048),
            kv_blocks=int(cache["num_gpu_blocks"]) - 1,
            block_size=int(cache["block_size"]),
            prefix_caching=cache["enable_prefix_caching"] == "True",
            async_scheduling=self.on_gpu,
        )

    def requests(self) -> tuple[list[Request], Callable[[float], Request] | None]:
        """Open loop: all of them. Closed loop: those of the start, and what follows when one finishes."""
        client = self.folder / "client.jsonl"
        if client.exists():
            rows = sorted(map(json.loads, client.read_text().splitlines()), key=lambda row: float(row["at"]))
            return [Request(f"r{n}", row["at"], row["isl"], row["osl"]) for n, row in enumerate(rows)], None
        source = _LoadGenerator(self.meta["load"])
        if source.concurrency:
            return [source.request(0.0) for _ in range(source.concurrency)], source.request
        return list(source.open_loop()), None

    def intervals(self) -> list[Interval]:
        """What happened between each two pages."""
        requests, _ = self.requests()
        cached = [request.prefix_tokens for request in requests]
        new = [request.prompt_tokens - hit for request, hit in zip(requests, cached, strict=True)]
        pairs_per_token = sum(n * (hit + n / 2) for n, hit in zip(new, cached, strict=True)) / sum(new)
        make = self._sglang_interval if self.sglang else self._vllm_interval
        times = self.meta["scrape_times"]
        spans = zip(pairwise(times), pairwise(page for page, _ in self.pages), strict=True)
        return [make(end_s - start_s, a, b, pairs_per_token) for (start_s, end_s), (a, b) in spans]

    def outside_s(self) -> list[float]:
        """Per stretch without a queue: what a request spends outside the scheduler before its first token.

        Parsing, tokenizing, the way to the engine's process and back. By the engine's own timers: time to first token
        less time in the queue, less the steps that computed the prompt, less the mean rest of the step under way.
        """
        waiting = "sglang:num_queue_reqs" if self.sglang else "vllm:num_requests_waiting"
        engine, prefill = ("sglang:", "per_stage_req_latency") if self.sglang else ("vllm:", "request_prefill_time")
        queue = "queue_time" if self.sglang else "request_queue_time"
        found = []
        for interval, ((a, _), (b, _)) in zip(self.intervals(), pairwise(self.pages), strict=True):

            def mean(timer: str, a: Page = a, b: Page = b) -> float:
                total, count = (
                    b.get(f"{engine}{timer}_seconds_{part}", 0.0) - a.get(f"{engine}{timer}_seconds_{part}", 0.0)
                    for part in ("sum", "count")
                )
                return total / count if count else nan

            busy = interval.busy_s / interval.seconds if interval.idle_s is not None else 1 - exp(-interval.running)
            rest = busy * interval.busy_s / interval.steps / 2 if interval.steps else 0.0
            outside = mean("time_to_first_token") - mean(queue) - mean(prefill) - rest
            if not (a[waiting] or b[waiting] or isnan(outside)):
                found.append(outside)
        return found

    def _vllm_interval(self, seconds: float, a: Page, b: Page, pairs_per_token: float) -> Interval:
        def grown(name: str) -> float:
            return b[f"vllm:{name}"] - a[f"vllm:{name}"]

        def mean(name: str) -> float:
            return (a[f"vllm:{name}"] + b[f"vllm:{name}"]) / 2

        rules = self.rules
        prompts, prompt_tokens = grown("time_to_first_token_seconds_count"), grown("prompt_tokens_total")
        # a step that computes a piece of a prompt beside no decode produces nothing and is not counted
        steps = max(grown("iteration_tokens_total_count"), prompt_tokens / rules.max_num_batched_tokens, 1.0)
        decode_tokens = grown("generation_tokens_total") - prompts
        running, decoding = max(mean("num_requests_running"), 1.0), decode_tokens / steps
        # blocks are half empty at their end; prompts being computed hold blocks too, but nobody decodes from them
        held = mean("kv_cache_usage_perc") * rules.kv_capacity_tokens - running * (rules.block_size - 1) / 2
        context = max(held, 0.0) * min(1.0, decoding / running)
        prompt_tokens += 0.4 * grown("num_preemptions_total") * context / max(decoding, 1.0)
        pieces = prompt_tokens / max(prompts, 1) / rules.max_num_batched_tokens
        one_step = not rules.async_scheduling and 2 * pieces <= 1
        timed = grown("request_prefill_time_seconds_count") if one_step else 0.0
        # what a piece of a prompt finds computed: cached blocks, and the pieces before it
        prefix = grown("prefix_cache_hits_total") + prompt_tokens * max(pieces - 1, 0.0) / 2
        return Interval(
            seconds=seconds,
            steps=steps,
            decode_tokens=decode_tokens,
            prompts=prompts,
            prompt_tokens=prompt_tokens,
            # prompts begin in random steps, and a long one takes several
            prefill_steps=max(steps * (1 - exp(-prompts / steps)), prompt_tokens / rules.max_num_batched_tokens),
            context_tokens=context * steps + prefix,
            prefix_tokens=prefix,
            pairs=prompt_tokens * pairs_per_token,
            timed_prompts=timed,
            timed_s=grown("request_prefill_time_seconds_sum") if timed else 0.0,
            running=min(a["vllm:num_requests_running"], b["vllm:num_requests_running"]),
            waiting=min(a["vllm:num_requests_waiting"], b["vllm:num_requests_waiting"]),
        )

    def _sglang_interval(self, seconds: float, a: Page, b: Page, pairs_per_token: float) -> Interval:
        def grown(name: str) -> float:
            return b.get(f"sglang:{name}", 0.0) - a.get(f"sglang:{name}", 0.0)

        prefills, decodes = grown("cuda_graph_passes_total:prefill_none"), grown("cuda_graph_passes_total:decode_none")
        prompt_tokens = grown("realtime_tokens_total:prefill_compute")
        prefix = grown("realtime_tokens_total:prefill_cache")
        context = (a["sglang:decode_sum_seq_lens"] + b["sglang:decode_sum_seq_lens"]) / 2
        return Interval(
            seconds=seconds,
            steps=prefills + decodes,
            decode_tokens=grown("realtime_tokens_total:decode"),
            prompts=grown("time_to_first_token_seconds_count"),
            prompt_tokens=prompt_tokens,
            prefill_steps=prefills,
            context_tokens=context * decodes + prefix,
            prefix_tokens=prefix,
            timed_prompts=grown("per_stage_req_latency_seconds_count"),
            timed_s=grown("per_stage_req_latency_seconds_sum"),
            pairs=prompt_tokens * pairs_per_token,
            running=min(a["sglang:num_running_reqs"], b["sglang:num_running_reqs"]),
            waiting=min(a["sglang:num_queue_reqs"], b["sglang:num_queue_reqs"]),
            idle_s=grown("scheduler_idle_seconds_total"),
            mixed=False,
        )


class _LoadGenerator:
    """Draws what the recordings' load generator drew: same seed, same order of draws."""

    def __init__(self, load: dict[str, Any]) -> None:
        self.concurrency = int(load["concurrency"])
        self._load = load
        self._random = random.Random(load["seed"])  # noqa: S311 - a reproduction, not a secret
        self._made = 0
        for _ in range(max(1, load["prefix_pool"]) * load["prefix_tokens"]):
            self._token()

    def _token(self) -> int:
        return self._random.randrange(self._load["vocab_lo"], self._load["vocab_hi"])

    def _between(self, bounds: str) -> int:
        low, high = bounds.split(":")
        return self._random.randint(int(low), int(high))

    def request(self, at_s: float) -> Request:
        prefix = self._random.choice(range(max(1, self._load["prefix_pool"])))
        own = self._between(self._load["prompt_tokens"])
        for _ in range(own):
            self._token()
        output = self._between(self._load["output_tokens"])
        self._made += 1
        shared = self._load["prefix_tokens"]
        return Request(f"r{self._made}", at_s, shared + own, output, f"p{prefix}" if shared else None, shared)

    def open_loop(self) -> Iterator[Request]:
        """The next arrival is drawn before the request that has just arrived is made."""
        due_s = self._random.expovariate(self._load["rate"])
        while due_s <= self._load["duration_s"]:
            at_s, due_s = due_s, due_s + self._random.expovariate(self._load["rate"])
            yield self.request(at_s)
