"""Worker processes for independent tasks, with one stream of events back to the job.

Results do not depend on the number of workers: each item is computed with the same number of threads
wherever it runs, and results come back in the order of the items.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging.handlers import QueueHandler
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from taskbasis.errors import TaskbasisError

Item = TypeVar("Item")
Result = TypeVar("Result")

_PRELOAD = ["taskbasis.evaluation.scoring", "taskbasis.training.finetuning"]


@dataclass(frozen=True)
class Progress:
    """How far one item of a stage has come."""

    stage: str
    item: str
    done: int
    total: int
    values: Mapping[str, float] = field(default_factory=dict)
    """Numbers worth recording at this point, such as a loss."""


@dataclass(frozen=True)
class Begin:
    """A stage begins with this many items."""

    stage: str
    items: int


Event = Begin | Progress
Report = Callable[[Event], None]
"""Receives progress; calls may come from another thread, one at a time."""


class Workers:
    """Runs functions over items: in this process, or in ``count`` others.

    Args:
        count: number of processes; 1 computes in this one.
        threads: threads of each process.
        report: receives the progress that functions report.
    """

    def __init__(self, count: int, threads: int, report: Report) -> None:
        self.count, self.threads, self.report = count, threads, report
        self._pool: ProcessPoolExecutor | None = None
        self._events: Any = None
        self._listener: threading.Thread | None = None

    def map(self, function: Callable[[Item, Report], Result], items: Sequence[Item]) -> list[Result]:
        """``function(item, report)`` for every item, in their order.

        Raises:
            TaskbasisError: the first error of any item (the others are cancelled), or if a process died.
        """
        if self.count == 1 or len(items) <= 1:
            return [function(item, self.report) for item in items]
        if self._pool is None:
            self._start()
        assert self._pool is not None
        futures: list[Future[Result]] = [self._pool.submit(_run, function, item) for item in items]
        done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
        if waiting:
            for future in waiting:
                future.cancel()
            wait(waiting)
        try:
            return [future.result() for future in sorted(done, key=futures.index)]
        except BrokenProcessPool as error:
            raise TaskbasisError(
                "a worker process died, perhaps for lack of memory; try trainer.workers=1"
            ) from error

    def close(self) -> None:
        """Stop the processes."""
        if self._pool is None:
            return
        self._pool.shutdown(cancel_futures=True)
        self._events.put(None)
        assert self._listener is not None
        self._listener.join()
        self._pool = None

    def _start(self) -> None:
        context = process_context()
        self._events = context.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        level = logging.getLogger("taskbasis").getEffectiveLevel()
        self._pool = ProcessPoolExecutor(
            self.count, context, initializer=_initialise, initargs=(self.threads, self._events, level)
        )

    def _listen(self) -> None:
        while (event := self._events.get()) is not None:
            if isinstance(event, logging.LogRecord):
                logging.getLogger(event.name).handle(event)
            else:
                self.report(event)


@contextmanager
def workers(count: int, threads: int, report: Report) -> Iterator[Workers]:
    """Workers that are stopped at the end of the block."""
    pool = Workers(count, threads, report)
    try:
        yield pool
    finally:
        pool.close()


def process_context() -> BaseContext:
    """How processes are made: forked from a clean server that has the heavy imports, where there is one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


def warm_up() -> None:
    """Let the server of worker processes import what they need while this process goes on."""
    if process_context().get_start_method() == "forkserver":
        forkserver.ensure_running()


def default_workers() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_events: Any = None


def _initialise(threads: int, events: Any, level: int) -> None:
    import torch

    global _events
    _events = events
    torch.set_num_threads(threads)
    root = logging.getLogger("taskbasis")
    root.handlers, root.propagate = [QueueHandler(events)], False
    root.setLevel(level)


def _run(function: Callable[[Item, Report], Result], item: Item) -> Result:
    return function(item, _events.put)
