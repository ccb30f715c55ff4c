"""Where the detectors draw their lines, each with its source. None of them was taken from a recording."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of the detectors."""

    queueing_share: float = 0.5
    """Waiting at most scrapes is a queue, at fewer a burst; those at which it only drains do not count. Definition of
    "mostly"."""
    wait_share: float = 0.05
    """A queue that takes less of a request's life than this hurts nobody. Definition of "negligible"."""
    evicted_share: float = 0.1
    """Evictions / finished requests from which on evictions alone matter: who is evicted is computed about twice, so
    this is a tenth more work."""
    kv_full: float = 0.9
    """KV usage from which on it binds. Source: SGLang hyperparameter tuning guide ("> 0.9" while requests wait)."""
    kv_room: float = 0.7
    """KV usage below which more requests surely fit. Source: catalogue of symptoms, table of binding constraints."""
    preemptions_per_min: float = 1.0
    """Evictions up to about one a minute are fine. Source: SGLang hyperparameter tuning guide."""
    reading_share: float = 0.5
    """Prompts being read on average, from which on prompts may be what all wait for. Definition of "mostly"."""
    step_fill: float = 0.6
    """Tokens per step / budget from which on steps count as filled: the estimate is coarse (mean ITL for step time)."""
    small_budget_tokens: float = 2048
    """Smallest default budget of any engine on a GPU (vLLM below 70 GiB, SGLang below 35 GB): less is tight."""
    computing_tokens: float = 640
    """Tokens per step from which on a GPU computes rather than reads weights, so that more of them only take longer:
    twice the ridge of the data sheets in `twin/hardware.py` (from 115 on an A100 to 314 on an L40S, bf16). A mixture of
    experts has a higher one, by as much as it has more parameters than it uses."""
    still_share: float = 0.9
    """Share of the scrapes at which a count must be the very same to stand still. Definition of "nearly always"."""
    still_scrapes: int = 8
    """Scrapes from which on a count that stands still does so for a reason: by chance it would not, even were every
    second scrape alike."""
    decode_slowdown: float = 2.0
    """ITL at the usual batch / of a request alone: from 2 on, most of a step is the batch's, not the weights'."""
    decode_correlation: float = 0.8
    """Correlation of ITL with running from which on ITL follows it: about two thirds of the variance explained."""
    least_points: int = 5
    """Fewer points than this make no pattern: the chance of such a correlation by luck stays above 5 % up to four."""
    decode_batch: float = 8
    """Fewer requests than this do not make decoding heavy. Definition of a small batch."""
    prefill_token_share: float = 0.5
    """Prompt tokens / all tokens above which slow steps may be prefill's doing: most tokens are then prompts'."""
    refused_drafts: float = 1.0
    """Refused drafts per token generated from which on more work is thrown away than delivered. Definition."""
    accepted_drafts: float = 0.1
    """Share of the tokens that were drafts below which speculation hardly helps. Definition of "hardly"."""
    tokens_for_a_share: float = 1000
    """Tokens from which on such shares are no accident: the tenth then has a standard error of one in a hundred."""
    tokens_for_a_mean: float = 100
    """Gaps between tokens from which on their mean can be compared: its standard error is a tenth of their spread."""
    error_share: float = 0.01
    """Failed requests / all from which on failures count. Definition: one in a hundred."""
    least_peers: int = 3
    """Peers below which nobody can say what is usual: two that differ are both odd."""
    outlier_ratio: float = 1.5
    """Slower than the peers' median by half: definition of "slow"."""
    outlier_sds: float = 3.5
    """Robust standard deviations from the median. Source: Iglewicz and Hoaglin, how to detect and handle outliers."""
    stall_times: float = 3.0
    """Gap that a moment of waiting falls into / mean gap, from which on answers stall: it is 2 where gaps are as random
    as arrivals, and half as much again is no accident of a steady server."""
    chance_sds: float = 3.0
    """Standard deviations that chance does not explain. Source: Shewhart's control limits."""
    whole_core: float = 0.9
    """Processor seconds per second from which on a single thread has no time left; what is missing to 1 is waiting."""
    least_side: int = 3
    """Stretches on either side of a moment that changed things: the middle one of three is not led astray by one."""
    long_s: float = 600.0
    """Seconds from which on a pause is a habit. Source: ten minutes is the shortest window the twin decides on."""
    underused_running: float = 0.5
    """Requests at a time below which an engine that batches is hardly used: it does nothing most of the time."""
    least_hours: int = 24
    """Hours of a service's own past below which nothing can be called usual: a whole day."""
    least_weeks: int = 2
    """Earlier weeks from which on the same hour of the week is the measure."""
    share_drift: float = 0.2
    """Change of a share that matters: definition, one in five."""
    growth: float = 1.25
    """Later / earlier, or one / another, from which on something grew or does more. Poisson arrivals below capacity do
    not sustain a queue that grows by so much."""


LIMITS = Limits()
