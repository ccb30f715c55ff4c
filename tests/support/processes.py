"""The `perfagent` command as processes of its own, each ended with the test."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path

PERFAGENT = Path(sys.executable).with_name("perfagent")
PATIENCE_S = 60.0
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+(?![\d/])")


@dataclass
class Running:
    """A process and what it has said."""

    process: subprocess.Popen[bytes]
    said: Path

    def addresses(self, count: int = 1) -> list[str]:
        """The base addresses that it tells, in order. Raises `AssertionError` when it ends or tells too few in time."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            told = list(dict.fromkeys(ADDRESS.findall(self.said.read_text())))
            if len(told) >= count:
                return told
            assert self.process.poll() is None, self.said.read_text()
            time.sleep(0.05)
        raise AssertionError(f"told no {count} addresses: {self.said.read_text()}")


@contextmanager
def perfagent(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """`perfagent …`, killed when the block is left if it still runs; what it says goes to a file in `folder`."""
    said = folder / f"{arguments[0]}-{time.monotonic_ns()}.log"
    with said.open("wb") as log:
        command = [str(PERFAGENT), *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env={**environ, **(env or {})})
    try:
        yield Running(process, said)
    finally:
        process.kill()
        process.wait()
