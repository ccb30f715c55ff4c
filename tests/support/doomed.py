"""An agent's part in a process of its own that changes an engine and kills itself just before its Nth move.

    python -m support.doomed FOLDER PORT N

What counts as a move is whatever the outside can see: a record saved, a process started, told to go on, or signalled.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perfagent.actuators.process import proc
from perfagent.actuators.process.record import Records
from perfagent.domain.knob import LaunchConfig
from support.machine import fake, here, until

BEFORE, AFTER = LaunchConfig(("--max-num-seqs", "8")), LaunchConfig(("--max-num-seqs", "64"))
left = -1


def counted(move: Callable[..., Any]) -> Callable[..., Any]:
    def moves(*arguments: Any) -> Any:
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return move(*arguments)

    return moves


async def change(folder: Path, port: int, number: int) -> None:
    global left
    one = fake(*BEFORE.flags, port=port, drain_s=0.1)
    async with here(folder, one) as agent:
        await until(lambda: (life := agent.record(one).life) is not None and life.served)
        left = number
        await agent.actuator.apply(one.target, AFTER)
        await agent.until_ready(one)
        print("done", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    for owner, name in ((Records, "save"), (proc, "launch"), (proc.Waiting, "go"), (proc, "terminate")):
        setattr(owner, name, counted(getattr(owner, name)))
    asyncio.run(change(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
