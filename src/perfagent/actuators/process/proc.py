"""What Linux tells of processes, and starting and ending them. Nothing here waits for anything."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from perfagent.actuators.process import launcher

PROC = Path("/proc")
_LAUNCHER = (sys.executable, "-I", "-S", str(Path(launcher.__file__)))


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process is meant, whatever becomes of its number: no two processes have all three in common."""

    pid: int
    started: int
    """When it was started, in clock ticks since the machine was."""
    boot: str
    """Which start of the machine that was."""


@dataclass(frozen=True, slots=True)
class Stat:
    """The few fields of `/proc/<pid>/stat` that matter."""

    state: str
    group: int
    started: int


def stat(pid: int) -> Stat | None:
    """A process that is there, zombies included; None where there is none of that number."""
    try:
        # the command's name stands in parentheses and may hold any character
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return Stat(state=fields[0], group=int(fields[2]), started=int(fields[19]))


def boot() -> str:
    """Names this start of the machine."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    """Who has this number now."""
    found = stat(pid)
    return None if found is None else Identity(pid, found.started, boot())


def runs(process: Identity) -> bool:
    """Whether that very process still runs; one that has ended and was not asked for its exit code yet does not."""
    found = stat(process.pid)
    return found is not None and found.started == process.started and found.state not in "ZX" and boot() == process.boot


def argv(process: Identity) -> tuple[str, ...]:
    """Its command line, in whose place a program may have put a title; empty where it cannot be read."""
    return _strings(process, "cmdline")


def environment(process: Identity) -> tuple[tuple[str, str], ...]:
    """The environment it was started with; empty where it cannot be read."""
    pairs = (entry.partition("=") for entry in _strings(process, "environ"))
    return tuple((name, text) for name, equals, text in pairs if equals)


def _strings(process: Identity, name: str) -> tuple[str, ...]:
    try:
        raw = (PROC / str(process.pid) / name).read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(part) for part in raw.removesuffix(b"\0").split(b"\0")) if raw else ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A launcher that waits for its order, at the head of a process group of its own."""

    process: Identity
    _order: int

    def go(self, command: Sequence[str], env: Sequence[tuple[str, str]], folder: Path, cores: Sequence[int]) -> None:
        """Let it become the engine. One that has died meanwhile stays dead."""
        order = {"argv": list(command), "env": dict(env), "folder": str(folder), "cores": list(cores)}
        with suppress(BrokenPipeError), os.fdopen(self._order, "wb") as pipe:
            pipe.write(json.dumps(order).encode() + b"\n")

    def drop(self) -> None:
        """Let it end without having become anything."""
        os.close(self._order)


def launch(log: Path) -> Waiting:
    """Start a launcher whose output, and later the engine's, goes to the end of a file. Raises `OSError`.

    It gets a group but no session of its own: it ends with neither the agent nor its terminal, and the kernel's
    automatic grouping of sessions (sched(7)) does not set engines of one machine against each other.
    """
    order, our_end = os.pipe()
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        pid = os.posix_spawn(
            _LAUNCHER[0],
            _LAUNCHER,
            {},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, order, 0),
                (os.POSIX_SPAWN_DUP2, said, 1),
                (os.POSIX_SPAWN_DUP2, said, 2),
            ],
            setpgroup=0,
            setsigmask=[],
        )
    except OSError:
        os.close(our_end)
        raise
    finally:
        os.close(order)
        os.close(said)
    process = identify(pid)
    if process is None:
        raise AssertionError("a child that was not waited for is there at least as a zombie")
    return Waiting(process, our_end)


def terminate(process: Identity) -> None:
    """Ask it to end: the engine's first process alone, which tells its others."""
    if runs(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)


def kill_group(process: Identity) -> None:
    """End it and whatever it started in its group at once.

    Where the process is gone its number may belong to another one by now; but not while anything of its group is left,
    so a group of that number without its first process is still ours.
    """
    head = stat(process.pid)
    if boot() == process.boot and (head is None or head.started == process.started):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def exit_code(process: Identity) -> int | None:
    """What a child of ours ended with (minus the signal's number where it was one); None for another's child.

    Asked once: it is forgotten by the machine afterwards.
    """
    try:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid else None
