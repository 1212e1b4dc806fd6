"""How a pass over files is carried out: threads over independent pieces, with memory used again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 16
"""Items for each thread that are handed out before the first of them is asked for."""

Progress = Callable[[int, int], None]
"""Called with the elements done and in all, in the thread that started the pass."""


@dataclass(frozen=True)
class Pass:
    """The part of a pass that its results do not depend on."""

    threads: int
    progress: Progress | None = None

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item], size: Callable[[Item], int]
    ) -> Iterator[Result]:
        """``function(item)`` for every item, in their order, each computed by one of the threads.

        On an error, or when the consumer stops, items that no thread has begun are dropped.

        Args:
            function: independent of the order in which it is called.
            items: the pieces of work.
            size: elements in an item, for the progress.
        """
        done, total = 0, sum(map(size, items))
        for item, result in zip(items, self._results(function, items), strict=True):
            yield result
            done += size(item)
            if self.progress:
                self.progress(done, total)

    def _results(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        with single_threaded():
            if self.threads == 1:
                yield from map(function, items)
                return
            # OpenMP counts threads anew in each thread.
            pool = ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,))
            begun: deque[Future[Result]] = deque()
            try:
                for item in items:
                    begun.append(pool.submit(function, item))
                    if len(begun) > AHEAD * self.threads:
                        yield begun.popleft().result()
                while begun:
                    yield begun.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)


class Scratch(threading.local):
    """Memory that a thread uses again: fresh pages for every chunk would cost more than the arithmetic."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)

    def __reduce__(self) -> tuple[type[Scratch], tuple[()]]:
        return Scratch, ()

    def take(self, rows: int, length: int, dtype: torch.dtype) -> Tensor:
        """An uninitialised matrix of shape (rows, length), valid until the next call in this thread."""
        wanted = rows * length * dtype.itemsize
        if self._memory.numel() < wanted:
            self._memory = torch.empty(wanted, dtype=torch.uint8)
        return self._memory[:wanted].view(dtype).view(rows, length)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Torch and BLAS use one thread per calling thread inside the block.

    Their own parallelism would compete with that of a pass, does not pay for small matrices, and changes
    the order of sums.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
