"""SGLang (github.com/sgl-project/sglang), up to 0.5.23."""

from perfagent.engines.sglang.knobs import COMMAND_LINE, KNOBS, LACKS, RULES
from perfagent.engines.sglang.metrics import GAPS, METRICS, SOMETIMES
from perfagent.engines.sglang.readback import ENDPOINTS, hosted, read_back, version
from perfagent.engines.sglang.writing import WRITING
from perfagent.engines.spec import EngineSpec

SGLANG = EngineSpec(
    name="sglang",
    marker="sglang:",
    metrics=METRICS,
    gaps=GAPS,
    sometimes=SOMETIMES,
    knobs=KNOBS,
    lacks=LACKS,
    rules=RULES,
    command_line=COMMAND_LINE,
    endpoints=ENDPOINTS,
    read_back=read_back,
    version=version,
    writing=WRITING,
    newest="0.5.23",
    reserves_output=True,
    default_port=30000,
    hosted=hosted,
    # with --enable-metrics-for-all-schedulers every rank repeats its data-parallel replica's figures
    repeats=frozenset({"tp_rank", "pp_rank", "moe_ep_rank"}),
    info_values={"sglang:context_len": "context_len", "sglang:page_size": "page_size"},
    notes=(
        "404 on /metrics: the server runs without --enable-metrics",
        "gauges may be 40 decode steps old (--decode-log-interval), or 30 s on an idle server",
    ),
)
