"""vLLM (github.com/vllm-project/vllm), the V1 engine, up to 0.33."""

from perfagent.engines.spec import EngineSpec
from perfagent.engines.vllm.knobs import COMMAND_LINE, KNOBS, LACKS, RULES
from perfagent.engines.vllm.metrics import CONFIG, GAPS, METRICS, SOMETIMES
from perfagent.engines.vllm.readback import ENDPOINTS, hosted, read_back, version
from perfagent.engines.vllm.writing import WRITING

VLLM = EngineSpec(
    name="vllm",
    marker="vllm:",
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
    newest="0.33.0",
    default_port=8000,
    hosted=hosted,
    info_labels=CONFIG,
    # absent with several API servers
    started_at="process_start_time_seconds",
    notes=(
        "a page without any vllm: series: the server runs with --disable-log-stats",
        "clients that disconnect are counted nowhere, so under overload latencies look better than clients see them",
    ),
)
