"""TGI (github.com/huggingface/text-generation-inference), up to 3.3.7, its last release."""

from perfagent.engines.completions import Completions
from perfagent.engines.spec import EngineSpec
from perfagent.engines.tgi.knobs import COMMAND_LINE, KNOBS, LACKS, RULES
from perfagent.engines.tgi.metrics import GAPS, METRICS, SOMETIMES
from perfagent.engines.tgi.readback import ENDPOINTS, hosted, read_back, version
from perfagent.engines.tgi.writing import WRITING

TGI = EngineSpec(
    name="tgi",
    marker="tgi_",
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
    newest="3.3.7",
    reserves_output=True,
    default_port=3000,
    completions=Completions.GENERATE,
    hosted=hosted,
    notes=(
        "an empty page: the server has not had a request since it started",
        "--prometheus-port serves nothing; metrics are on the main port",
    ),
)
