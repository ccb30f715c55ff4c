"""The `perfagent` command."""

import typer

from perfagent import __version__
from perfagent.cli.bench import bench
from perfagent.cli.demo import demo
from perfagent.cli.demo_vllm import demo_vllm
from perfagent.cli.diagnose import diagnose
from perfagent.cli.emulate import emulate
from perfagent.cli.judge import judge
from perfagent.cli.output import out
from perfagent.cli.predict import predict
from perfagent.cli.probe import probe
from perfagent.cli.record import record
from perfagent.cli.serve import serve
from perfagent.cli.stop import stop

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Finds what holds a language-model server back, proposes the flags to change, and rolls the change out.",
)
app.command()(demo)
app.command()(demo_vllm)
app.command()(diagnose)
app.command()(predict)
app.command()(judge)
app.command()(probe)
app.command()(record)
app.command()(serve)
app.command()(stop)
app.command()(emulate)
app.add_typer(bench, name="bench")


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Print the version."),  # noqa: FBT001, FBT003
) -> None:
    """Performance agent for vLLM, SGLang and TGI."""
    if version:
        out.print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app()
