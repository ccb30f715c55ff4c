"""What is wanted of each replica and which process runs for it, in a file each: written before anything is done."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from perfagent.actuators.process.proc import Identity
from perfagent.domain.errors import ActuatorFailed
from perfagent.domain.knob import LaunchConfig


@dataclass(frozen=True, slots=True)
class Life:
    """A process that was started for the replica, from its start until its end is noticed."""

    process: Identity
    launch: LaunchConfig
    ordered: bool = False
    """It was told to become the engine; one that ended before that has not failed."""
    served: bool = False
    """It has answered since it was started."""
    stopping: bool = False
    """It was asked to end, so it is no use any more whatever is wanted."""


@dataclass(frozen=True, slots=True)
class Record:
    """One replica."""

    wanted: LaunchConfig
    """What it shall run with, or is on the way to."""
    life: Life | None = None
    """Its process; one that may have ended meanwhile."""
    deaths: tuple[float, ...] = ()
    """Unix seconds at which it was seen to have ended by itself lately, with what is wanted now."""
    failure: str = ""
    """Why it last ended by itself; empty once it has answered again."""
    failed_to_start: bool = False
    """That was before it had ever answered."""

    def changed(self, wanted: LaunchConfig) -> "Record":
        """The same with something else wanted, which has not failed yet."""
        return Record(wanted, self.life)

    def answered(self) -> "Record":
        """The same once its process has answered."""
        if self.life is None:
            return self
        deaths = () if self.failed_to_start else self.deaths  # what kept it from starting is gone
        return Record(self.wanted, replace(self.life, served=True), deaths)

    def ordered(self) -> "Record":
        """The same once its process was told to become the engine."""
        return self if self.life is None else replace(self, life=replace(self.life, ordered=True))

    def stopping(self) -> "Record":
        """The same once its process is asked to end."""
        return self if self.life is None else replace(self, life=replace(self.life, stopping=True))


_RECORD = TypeAdapter(Record)


@dataclass(frozen=True, slots=True)
class Records:
    """The records in a folder that only its owner can read. What is saved survives `kill -9`, of the machine too."""

    folder: Path

    def load(self, name: str) -> Record | None:
        """A replica's record, None before its first. Raises `ActuatorFailed` for one that cannot be read: a second
        process beside one that runs would be worse than none."""
        path = self._path(name)
        try:
            return _RECORD.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise ActuatorFailed(f"{path} cannot be read; end its engine and delete the file: {error}") from error

    def save(self, name: str, record: Record) -> None:
        """Keep this one in place of the one before: all of it or nothing. Raises `ActuatorFailed`."""
        path = self._path(name)
        fresh = path.with_suffix(".new")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(_RECORD.dump_json(record))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            raise ActuatorFailed(f"{path} cannot be written: {error}") from error

    def log(self, name: str) -> Path:
        """Where the replica's output goes."""
        return self.folder / f"{name}.log"

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"
