"""Worker processes for independent tasks, with one stream of events back to the job.

Results do not depend on the number of workers: each item is computed with the same number of threads
wherever it runs, and results come back in the order of the items.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging.handlers import QueueHandler
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from taskbasis.errors import TaskbasisError

Item = TypeVar("Item")
Result = TypeVar("Result")

JOBS_VARIABLE = "TASKBASIS_JOBS"
"""Environment variable by which launchers say how many jobs run at once; 0 or less: one per processor."""
_GRACE = 2.0
"""Seconds in which a worker whose job was killed may tidy up."""
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
        apart: compute in another process even if it is one, so that functions can hand ``report`` on to
            processes that they start.
    """

    def __init__(self, count: int, threads: int, report: Report, *, apart: bool = False) -> None:
        self.count, self.threads, self.report, self.apart = count, threads, report, apart
        self._pool: ProcessPoolExecutor | None = None
        self._events: Any = None
        self._listener: threading.Thread | None = None
        self._others: set[int | None] = set()

    def map(self, function: Callable[[Item, Report], Result], items: Sequence[Item]) -> list[Result]:
        """``function(item, report)`` for every item, in their order.

        Raises:
            TaskbasisError: the first error of any item (the others are cancelled), or if a process died.
        """
        if not self.apart and min(self.count, len(items)) <= 1:
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

    def close(self, *, at_once: bool = False) -> None:
        """Stop the processes: once they have done what they do, or ``at_once`` but cleanly."""
        if self._pool is None:
            return
        if at_once:
            for process in self._processes():
                process.terminate()
        self._pool.shutdown(cancel_futures=True)
        self._events.put(None)
        assert self._listener is not None
        self._listener.join()
        self._pool = None

    def _processes(self) -> list[BaseProcess]:
        return [p for p in multiprocessing.active_children() if p.pid not in self._others]

    def _start(self) -> None:
        self._others = {process.pid for process in multiprocessing.active_children()}
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
def workers(count: int, threads: int, report: Report, *, apart: bool = False) -> Iterator[Workers]:
    """Workers that are stopped at the end of the block, and at once if it is left by an error."""
    pool = Workers(count, threads, report, apart=apart)
    try:
        yield pool
    except BaseException:
        pool.close(at_once=True)
        raise
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
    """How many processes a job starts unless it is told: its share of the processors."""
    return max(1, processors() // jobs_at_once())


def jobs_at_once() -> int:
    """How many jobs of a sweep share this machine, as its launcher says; 1 if nothing does."""
    jobs = int(os.environ.get(JOBS_VARIABLE, 1))
    return jobs if jobs > 0 else processors()


def processors() -> int:
    """The number of processors that this process may use."""
    known = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(known, int(os.environ.get("SLURM_CPUS_PER_TASK", known)))


_events: Any = None
_busy = _stopping = False


def _initialise(threads: int, events: Any, level: int) -> None:
    import torch

    global _events
    _events = events
    # Ctrl-C reaches every process of a terminal; what becomes of workers is the job's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_stop_without_parent, daemon=True).start()
    torch.set_num_threads(threads)
    root = logging.getLogger("taskbasis")
    root.handlers, root.propagate = [QueueHandler(events)], False
    root.setLevel(level)


def _run(function: Callable[[Item, Report], Result], item: Item) -> Result:
    global _busy
    _busy = True
    try:
        return function(item, _events.put)
    except BaseException:
        if _stopping:
            os._exit(1)
        raise
    finally:
        _busy = False


def _stop(*_: object) -> None:
    """End this worker; what it computes is left as by an error, so that temporary files are removed."""
    global _stopping
    if not _busy:
        os._exit(1)
    if not _stopping:
        _stopping = True
        raise KeyboardInterrupt


def _stop_without_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)
