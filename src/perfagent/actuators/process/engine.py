"""One replica as the services file describes it: where it listens, and how it is started when nothing else is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.snapshot import Target

PORT = "{port}"
"""Stands for the replica's port in the words of a command."""
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
"""What is in the name of a variable that holds a secret. An assumption about how people name them."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine process to be. What rollouts change is in `launch`; the rest is the same at every start."""

    target: Target
    engine: str
    command: tuple[str, ...]
    """Program and arguments that name model, host and port: always said, and before the flags."""
    launch: LaunchConfig
    """How it is started the first time."""
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """The other variables of its environment. They may hold secrets, so they are kept nowhere else."""
    folder: Path = Path("/")
    """Where it is started: what relative paths of the command are relative to."""
    cores: tuple[int, ...] = ()
    """The processor cores that it may use; all of them where none is named."""
    supervise: bool = True
    """Start it again when it has died by itself."""
    drain_s: float = 60.0
    """How long requests under way may take to end before it is stopped. An assumption: most answers take less."""
    grace_s: float = 30.0
    """How long it may take to end by itself once it is asked to: what Kubernetes grants by default."""

    @property
    def name(self) -> str:
        """Names its files: a port has one engine."""
        return f"{self.target.id.partition('/')[0]}-{self.port}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that no text for people may hold, as far as their variables' names tell."""
        return tuple(text for name, text in self.env if any(word in name.upper() for word in SECRET_WORDS))

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.target.url).port or 80

    def argv(self, launch: LaunchConfig) -> tuple[str, ...]:
        """The whole command line."""
        return (*self.command, *launch.flags)

    def environment(self, launch: LaunchConfig) -> tuple[tuple[str, str], ...]:
        """The whole environment."""
        return (*self.env, *launch.env)

    def launch_of(self, argv: Sequence[str], env: Sequence[tuple[str, str]]) -> LaunchConfig | None:
        """What a running process was started with; None where its command line does not show the command.

        A script's begins with its interpreter. Of its environment only what the engine's table knows is told.
        """
        rest = self.command[1:]
        for at in range(1, len(argv) - len(rest) + 1):
            if rest and tuple(argv[at : at + len(rest)]) == rest:
                names = engines.variables(self.engine)
                flags = tuple(argv[at + len(rest) :])
                return LaunchConfig(flags, tuple(pair for pair in env if pair[0] in names))
        return None


def engine_process(
    target: Target,
    engine: str,
    command: Sequence[str],
    flags: Sequence[str],
    env: Mapping[str, str],
    *,
    folder: Path,
    cores: Sequence[int] = (),
    supervise: bool = True,
    drain_s: float = 60.0,
    grace_s: float = 30.0,
) -> Engine:
    """A replica from what a user wrote, `{port}` in the command filled in.

    Raises `InvalidInput` where the command would not tell this replica from others.
    """
    port = urlsplit(target.url).port
    if not any(PORT in word for word in command[1:]):
        raise InvalidInput(f"{target.id}: the command says {PORT} where the engine is told its port")
    names = engines.variables(engine)
    return Engine(
        target=target,
        engine=engine,
        command=tuple(word.replace(PORT, str(port)) for word in command),
        launch=LaunchConfig(tuple(flags), tuple(pair for pair in env.items() if pair[0] in names)),
        env=tuple(pair for pair in env.items() if pair[0] not in names),
        folder=folder,
        cores=tuple(cores),
        supervise=supervise,
        drain_s=drain_s,
        grace_s=grace_s,
    )
