"""The same question for many numbers, asked on all cores."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")


def over_cores(one: Callable[[int], T], numbers: Sequence[int], *, few: int, workers: int | None = None) -> Iterator[T]:
    """Each answer in turn, as they are asked for; the same on any number of workers.

    `few` numbers are done before other processes are up, so for no more of them none are started.
    """
    workers = min(workers or os.cpu_count() or 1, len(numbers))
    if len(numbers) <= few or workers < 2:
        yield from map(one, numbers)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield from pool.map(one, numbers)
    finally:
        pool.shutdown(cancel_futures=True)
