"""The services file: what a user wants looked after, and how the engines among it are started on this machine.

Each service is written as the API takes it, but that in place of `targets` it may say under `process` how its replicas
are started. What is unknown in it is refused, and nothing of it is read by a shell.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from perfagent.actuators.process import Engine, engine_process
from perfagent.api.fields import Flags, Model, ServiceId, Url
from perfagent.api.services import ServiceIn
from perfagent.domain.errors import InvalidInput
from perfagent.domain.service import Service, replica

PROCESS = "process"
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
"""Variables of the agent's own environment that engines get unless the file names others: what programs need to be
found and to find their files."""
MOST_BYTES = 2**20

Word = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]
Variable = Annotated[str, StringConstraints(max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Variables = Annotated[dict[Variable, Word], Field(max_length=200)]


class ReplicaEntry(Model):
    """One replica: what it has for itself."""

    port: int = Field(ge=1, le=65_535)
    cores: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=1024)] = ()
    """Processor cores that it may use; all where none is named."""
    env: Variables = Field(default_factory=dict)
    """On top of the service's."""


class ProcessEntry(Model):
    """How the replicas of a service are started on this machine."""

    command: Annotated[tuple[Word, ...], Field(min_length=2, max_length=200)]
    """Program and the arguments that name model, host and port (`{port}`: the replica's); rollouts never change it."""
    flags: Flags = ()
    """The engine's settings, after the command. Rollouts change them, and what they left counts from then on."""
    env: Variables = Field(default_factory=dict)
    inherit: Annotated[tuple[Variable, ...], Field(max_length=200)] = INHERITED
    """Variables of the agent's own environment that the engine gets too."""
    replicas: Annotated[tuple[ReplicaEntry, ...], Field(min_length=1, max_length=1000)]
    supervise: bool = True
    """Start replicas again that died by themselves."""
    drain_s: float = Field(60.0, ge=0, le=3600)
    """How long requests under way may take to end before a replica is stopped."""
    grace_s: float = Field(30.0, ge=0, le=3600)
    """How long a replica may take to end by itself before it is killed."""


class ServiceEntry(ServiceIn):
    """A service as the API takes it, or one whose replicas are processes of this machine."""

    targets: Annotated[tuple[Url, ...], Field(max_length=1000)] = ()
    process: ProcessEntry | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.process is None) == (not self.targets):
            raise ValueError("a service has either `targets` or `process`")
        if self.process is not None and (self.actuator not in ("none", PROCESS) or self.flags):
            raise ValueError("with `process` the actuator is `process`, and `flags` stand beside its command")
        return self

    def declared(self, service_id: str, folder: Path) -> tuple[Service, tuple[Engine, ...]]:
        """The service, and the processes of its replicas, which start in this folder. Raises `InvalidInput`."""
        if self.process is None:
            return self.service(service_id), ()
        urls = tuple(f"http://127.0.0.1:{each.port}" for each in self.process.replicas)
        plain = self.model_copy(update={"targets": urls, "actuator": PROCESS, "flags": self.process.flags})
        return plain.service(service_id), tuple(_engines(service_id, self.engine.value, self.process, folder))


class File(Model):
    """The whole file."""

    services: Annotated[dict[ServiceId, ServiceEntry], Field(max_length=1000)]

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        entries = [entry.process for entry in self.services.values() if entry.process is not None]
        ports = [each.port for entry in entries for each in entry.replicas]
        twice = next((port for port in ports if ports.count(port) > 1), None)
        if twice is not None:
            raise ValueError(f"port {twice} is given to two replicas")
        return self


@dataclass(frozen=True, slots=True)
class Declared:
    """What a services file says."""

    services: tuple[Service, ...] = ()
    engines: tuple[Engine, ...] = ()


def read_services(path: Path) -> Declared:
    """What the file says. Raises `InvalidInput` with the place of what is wrong in it, never with a value: it may be a
    secret."""
    try:
        with path.open("rb") as opened:
            text = opened.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise InvalidInput(f"{path} is larger than {MOST_BYTES} bytes")
        file = File.model_validate(yaml.safe_load(text))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        raise InvalidInput(f"{path} is no YAML" + (f", line {where.line + 1}" if where else "")) from error
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise InvalidInput(f"{path}: {said}") from None
    both = [entry.declared(service_id, path.parent.absolute()) for service_id, entry in file.services.items()]
    return Declared(tuple(service for service, _ in both), tuple(engine for _, engines in both for engine in engines))


def _engines(service_id: str, engine: str, entry: ProcessEntry, folder: Path) -> Iterator[Engine]:
    inherited: Mapping[str, str] = {name: os.environ[name] for name in entry.inherit if name in os.environ}
    for each in entry.replicas:
        yield engine_process(
            replica(service_id, f"http://127.0.0.1:{each.port}"),
            engine,
            entry.command,
            entry.flags,
            {**inherited, **entry.env, **each.env},
            folder=folder,
            cores=each.cores,
            supervise=entry.supervise,
            drain_s=entry.drain_s,
            grace_s=entry.grace_s,
        )
