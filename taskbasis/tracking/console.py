"""What a user sees while a run goes on, and the table at its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from taskbasis.parallel import Begin, Event
from taskbasis.tracking.results import metrics, per_task

_log = logging.getLogger(__name__)
LEVELS = {"quiet": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


def set_up_logging(console: Console, verbosity: str) -> None:
    """Send the package's log to the console, once; ``verbosity`` is quiet, info or debug.

    The logger itself lets everything through: ``run.log`` has all of it.
    """
    root = logging.getLogger("taskbasis")
    root.setLevel(logging.DEBUG)
    root.propagate = False
    for handler in [h for h in root.handlers if isinstance(h, RichHandler)]:
        root.removeHandler(handler)
    handler = RichHandler(LEVELS[verbosity], console, show_path=False, show_time=False, markup=False)
    root.addHandler(handler)


class Display:
    """One progress display for the whole job: a bar per stage over its items, the current items beside it.

    Without a terminal, or with ``live`` false, it is quiet; stages and trained items are logged instead,
    at ``level``.
    """

    def __init__(self, console: Console, *, live: bool = True, level: int = logging.INFO) -> None:
        self._live, self._level = live and console.is_terminal, level
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
                    _log.log(self._level, "%s: %d to do or to find", event.stage, event.items)
                return
            shares = self._shares.setdefault(event.stage, {})
            shares[event.item] = event.done / event.total
            values = "  ".join(f"{k} {v:.3f}" for k, v in event.values.items())
            if event.done == event.total and values and not self._live:
                _log.log(self._level, "%s: %s done, %s", event.stage, event.item, values)
            if (bar := self._bars.get(event.stage)) is not None:
                running = [name for name, share in shares.items() if share < 1]
                text = " ".join(running[:4]) + (f"  {values}" if values else "")
                self._progress.update(bar, completed=sum(shares.values()), items=text)


def summary(result: Mapping[str, Any]) -> Table:
    """The result of a run: test accuracies (%) per task, with their means."""
    columns, rows = per_task(result)
    table = Table(title=f"{result['run']['id']}: test top-1, %", caption=_caption(result))
    table.add_column("task")
    for column in columns[1:]:
        table.add_column(_HEADINGS[column], justify="right")
    for row in rows:
        table.add_row(row[0], *(_cell(c, v) for c, v in zip(columns[1:], row[1:], strict=True)))
    table.add_section()
    means = [_mean([row[i] for row in rows]) for i in range(1, len(columns))]
    table.add_row("mean", *(_cell(c, v) for c, v in zip(columns[1:], means, strict=True)), style="bold")
    return table


def one_line(result: Mapping[str, Any]) -> str:
    """The result of a run in a line: its name, its main number and its time."""
    numbers = metrics(result)
    shown = [
        f"{label} {100 * value:.1f} %" for key, label in _HEADLINES if (value := numbers.get(key)) is not None
    ]
    return f"{result['run']['id']}: {', '.join(shown)}, {sum(result['run']['seconds'].values()):.1f} s"


_HEADLINES = (
    ("addition/test/top1", "top-1"),
    ("addition/test/normalized_top1", "normalized"),
    ("negation/test/target_top1", "forgotten"),
    ("negation/test/control_top1", "control"),
)

_HEADINGS = {
    "zeroshot/top1": "zero-shot",
    "finetuned/top1": "fine-tuned",
    "addition/top1": "merged",
    "addition/normalized_top1": "normalized",
    "negation/alpha": "negation α",
    "negation/target_top1": "forgotten",
    "negation/control_top1": "control",
}


def _caption(result: Mapping[str, Any]) -> str:
    basis = result["basis"]
    text = f"basis {basis['method']}, M = {basis['M']} of T = {basis['T']}"
    if basis["loss"] is not None:
        text += f", loss {basis['loss']:.4g} (spectral bound {basis['spectral_bound']:.4g})"
    if (addition := result["protocols"].get("addition")) is not None:
        search = addition["search"]
        edge = ", at the edge of the grid" if search["at_boundary"] else ""
        text += f"; merged {addition['merge']['inputs']}, α = {search['alpha']:g}{edge}"
    if (negation := result["protocols"].get("negation")) is not None:
        done, grid = negation["control_passes"], negation["grid_control_passes"]
        text += f"; control passes {done} of the grid's {grid}"
    return text


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if column == "negation/alpha" else f"{100 * value:.1f}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
