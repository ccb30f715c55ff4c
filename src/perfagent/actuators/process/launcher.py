"""Becomes the engine once it is told to. Run as a script, by path, before anything of the product is imported.

Whoever starts it writes down its process number first and then sends the order on standard input, so no engine ever
runs that is not on record: where the order does not come, because the agent died, it ends without a trace.
"""

import json
import os
import signal
import sys

NOT_FOUND = 127
"""Exit code where the program cannot be run, as shells have it."""


def main() -> None:
    """Wait for the order (one line of JSON: `argv`, `env`, `folder`, `cores`) and run it in this process's place."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return
    order = json.loads(line)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores these two, and what is ignored is inherited
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    argv = order["argv"]
    try:
        os.chdir(order["folder"])
        if order["cores"]:
            os.sched_setaffinity(0, order["cores"])
        os.execvpe(argv[0], argv, order["env"])  # noqa: S606 - no shell is the point
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{argv[0]} cannot be run: {getattr(error, 'strerror', None) or error}\n")
        sys.exit(NOT_FOUND)


if __name__ == "__main__":
    main()
