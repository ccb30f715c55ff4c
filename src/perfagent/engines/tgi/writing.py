"""How TGI 1.4 to 3.3.7 write their pages: names, labels and bucket edges.

Source: `router/src/server.rs` (recorder and buckets). One router per server: no model and no rank labels.
"""

from itertools import accumulate, repeat
from operator import mul

from perfagent.domain.metric import Metric
from perfagent.engines.spec import Writing, Written

_DURATION = tuple(accumulate(repeat(1.5, 35), mul, initial=0.0001))[1:]


def hundredths(longest: int) -> tuple[float, ...]:
    """100 equal steps up to the longest request."""
    return tuple(longest / 100 * step for step in range(1, 101))


_STEPS = "tgi_batch_inference_duration"
_FAILURES = "tgi_request_failure"

WRITING = Writing(
    since="1.4",
    lazy=True,
    groups={"server": ((None, ()),)},
    families=(
        Written(Metric.RUNNING, "tgi_batch_current_size", "server"),
        Written(Metric.WAITING, "tgi_queue_size", "server"),
        Written(Metric.KV_RESERVED, "tgi_batch_current_max_tokens", "server"),
        Written(Metric.PROMPT_LENGTH, "tgi_request_input_length", "server", edges=((None, hundredths),)),
        Written(Metric.GENERATION_LENGTH, "tgi_request_generated_tokens", "server", edges=((None, hundredths),)),
        Written(Metric.ITL, _STEPS, "server", (("method", "decode"),), edges=((None, _DURATION),)),
        Written(Metric.PREFILL_TIME, _STEPS, "server", (("method", "prefill"),), edges=((None, _DURATION),)),
        Written(Metric.TPOT, "tgi_request_mean_time_per_token_duration", "server", edges=((None, _DURATION),)),
        Written(Metric.E2E, "tgi_request_duration", "server", edges=((None, _DURATION),)),
        Written(Metric.QUEUE_TIME, "tgi_request_queue_duration", "server", edges=((None, _DURATION),)),
        Written(Metric.FINISHED, "tgi_request_success", "server"),
        Written(Metric.FAILED, _FAILURES, "server", (("err", "generation"),)),
        Written(Metric.REJECTED, _FAILURES, "server", (("err", "overloaded"),)),
        Written(Metric.ABORTED, _FAILURES, "server", (("err", "dropped"),)),
    ),
)
