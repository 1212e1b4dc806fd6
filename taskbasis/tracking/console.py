"""What a user sees while a run goes on, and the table at its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from taskbasis.parallel import Begin, Event

_log = logging.getLogger(__name__)
LEVELS = {"quiet": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


def set_up_logging(console: Console, verbosity: str) -> None:
    """Send the package's log to the console, once; ``verbosity`` is quiet, info or debug."""
    root = logging.getLogger("taskbasis")
    root.setLevel(LEVELS[verbosity])
    root.propagate = False
    for handler in [h for h in root.handlers if isinstance(h, RichHandler)]:
        root.removeHandler(handler)
    root.addHandler(RichHandler(console=console, show_path=False, show_time=False, markup=False))


class Display:
    """One progress display for the whole job: a bar per stage over its items, the current items beside it.

    Without a terminal it is quiet; stages and trained items are logged instead.
    """

    def __init__(self, console: Console) -> None:
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("[bold]{task.description:<18}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[items]}", style="dim"),
            console=console,
            disable=not self._live,
        )
        self._bars: dict[str, TaskID] = {}
        self._shares: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show an event of a stage."""
        with self._lock:
            if isinstance(event, Begin):
                self._bars[event.stage] = self._progress.add_task(event.stage, total=event.items, items="")
                self._shares[event.stage] = {}
                if not self._live:
                    _log.info("%s: %d to do or to find", event.stage, event.items)
                return
            shares = self._shares.setdefault(event.stage, {})
            shares[event.item] = event.done / event.total
            values = "  ".join(f"{k} {v:.3f}" for k, v in event.values.items())
            if event.done == event.total and values and not self._live:
                _log.info("%s: %s done, %s", event.stage, event.item, values)
            if (bar := self._bars.get(event.stage)) is not None:
                running = [name for name, share in shares.items() if share < 1]
                text = " ".join(running[:4]) + (f"  {values}" if values else "")
                self._progress.update(bar, completed=sum(shares.values()), items=text)


def summary(result: Mapping[str, Any]) -> Table:
    """The result of a run: test accuracy (top-1, %) per task beside zero-shot and fine-tuned."""
    addition = result["protocols"]["addition"]
    basis, search = result["basis"], addition["search"]
    table = Table(
        title=f"{result['run']['id']}: test top-1, %",
        caption=(
            f"basis {basis['method']}, M = {basis['M']} of T = {basis['T']}, loss {basis['loss']:.4g} "
            f"(spectral bound {basis['spectral_bound']:.4g}); α = {search['alpha']:g}"
            + (", at the edge of the grid" if search["at_boundary"] else "")
        ),
    )
    table.add_column("task")
    for column in ("zero-shot", "fine-tuned", "merged", "normalized"):
        table.add_column(column, justify="right")
    zero, fine = (
        {task: splits["test"] for task, splits in result["single"][kind].items()}
        for kind in ("zeroshot", "finetuned")
    )
    for task, merged in addition["test"].items():
        table.add_row(
            task,
            *(f"{100 * _top1(c):.1f}" for c in (zero[task], fine[task], merged)),
            _ratio(merged, fine[task]),
        )
    table.add_section()
    means = [sum(map(_top1, counts.values())) / len(counts) for counts in (zero, fine, addition["test"])]
    normalized = addition["normalized_top1"]
    table.add_row(
        "mean",
        *(f"{100 * mean:.1f}" for mean in means),
        "–" if normalized is None else f"{100 * normalized:.1f}",
        style="bold",
    )
    return table


def _top1(count: Mapping[str, int]) -> float:
    return count["correct"] / count["n"]


def _ratio(merged: Mapping[str, int], finetuned: Mapping[str, int]) -> str:
    return f"{100 * _top1(merged) / _top1(finetuned):.1f}" if finetuned["correct"] else "–"
