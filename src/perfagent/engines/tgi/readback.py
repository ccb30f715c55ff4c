"""What a running TGI tells of its configuration: request limits in `/info`, and nothing of its batch or KV cache.

Source: `router/src/lib.rs` (`Info`); releases up to 2.2 also told `max_batch_size`, and `model_device_type`, which is
`cpu` or says nothing of which GPU.
"""

from collections.abc import Mapping

from perfagent.domain.knob import Knob, KnobValue
from perfagent.engines.answers import answer, setting, text
from perfagent.engines.spec import Hosted

ENDPOINTS = ("/info",)

_FIELDS: tuple[tuple[str, Knob], ...] = (
    ("max_concurrent_requests", Knob.MAX_CONCURRENT_REQUESTS),
    ("max_total_tokens", Knob.MAX_MODEL_LEN),
    ("max_batch_size", Knob.MAX_NUM_SEQS),
)


def read_back(_: Mapping[str, str], answers: Mapping[str, object]) -> Mapping[Knob, KnobValue]:
    """Settings in force by `/info`; the page carries none."""
    info = answer(answers, "/info")
    values = ((knob, setting(info, field)) for field, knob in _FIELDS)
    return {knob: value for knob, value in values if value is not None}


def version(answers: Mapping[str, object]) -> str | None:
    """The release by `/info`."""
    return text(answer(answers, "/info"), "version")


def hosted(answers: Mapping[str, object]) -> Hosted:
    """The model by `/info`, and whether it runs on processor cores."""
    info = answer(answers, "/info")
    return Hosted(hardware=text(info, "model_device_type") or "", model=text(info, "model_id") or "")
