"""One agent per data folder: an advisory lock that the kernel gives back however its holder dies."""

import os
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from perfagent.domain.errors import StoreFailed


class FileLock:
    """Held from construction until `release`. The file stays: taking it away would let two hold "it" at once.

    Raises `StoreFailed` when another agent holds it, named by its process id, or when the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreFailed(f"cannot write in the data folder {path.parent}: {error.strerror}") from error
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
            os.truncate(self._file, 0)
            os.write(self._file, str(os.getpid()).encode())
        except BlockingIOError as error:
            holder = os.read(self._file, 20).decode(errors="replace")
            os.close(self._file)
            raise StoreFailed(
                f"another agent (process {holder}) works in the data folder {path.parent}; stop it or use another one"
            ) from error
        except OSError as error:
            os.close(self._file)
            raise StoreFailed(f"cannot lock the data folder {path.parent}: {error.strerror}") from error

    def release(self) -> None:
        """Let another agent have it."""
        os.close(self._file)
