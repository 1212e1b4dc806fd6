"""Tables of many runs: rows and columns by setting, seeds as mean ± standard deviation."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from taskbasis.errors import ConfigError
from taskbasis.tracking.collection import Run, varying

SEED = re.compile(r"(^|\.)seed$")
_LOWER = re.compile(r"loss$|error$|condition$|_bytes$|^seconds$|target_top1$")
_NEITHER = re.compile(r"alpha$|norm$|bound$")
_PERCENT = re.compile(r"top1$")


@dataclass(frozen=True)
class Cell:
    """A metric over the runs that differ in their seeds alone."""

    metric: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over runs."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """Standard deviation of a sample; None of a single run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def text(self) -> str:
        """Mean ± standard deviation; accuracies in percent."""
        if _PERCENT.search(self.metric):
            return f"{100 * self.mean:.1f}" + ("" if self.std is None else f" ± {100 * self.std:.1f}")
        return f"{self.mean:.4g}" + ("" if self.std is None else f" ± {self.std:.2g}")


@dataclass(frozen=True)
class ResultTable:
    """Rows by setting; columns by metric, or by metric and the value of another setting."""

    keys: tuple[str, ...]
    """Settings that name the rows."""
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[Any, ...], tuple[Cell | None, ...]], ...]
    """Values of the settings, and one cell per column; None where there is no run."""
    averaged: tuple[str, ...]
    """Settings other than seeds that differ within a cell."""
    title: str | None = None
    """The metric, where no column names it."""

    def best(self, column: int) -> set[int]:
        """The rows with the best mean of a column; none if there is nothing to choose."""
        cells = [(i, cell) for i, (_, cells) in enumerate(self.rows) if (cell := cells[column])]
        if len(cells) < 2 or _NEITHER.search(cells[0][1].metric):
            return set()
        choose = min if _LOWER.search(cells[0][1].metric) else max
        top = choose(cell.mean for _, cell in cells)
        return {i for i, cell in cells if cell.mean == top}


def make_table(
    runs: Sequence[Run], metrics: Sequence[str], rows: Sequence[str] | None = None, pivot: str | None = None
) -> ResultTable:
    """A table of completed runs.

    Args:
        runs: at least one of them completed.
        metrics: what is shown.
        rows: settings that name the rows; by default those that tell the runs apart, seeds aside.
        pivot: a setting whose values become columns.

    Raises:
        ConfigError: if there is no completed run, or no run has such a setting or metric.
    """
    done = [run for run in runs if run.status == "completed"]
    if not done:
        raise ConfigError("there are no completed runs here")
    _check("metric", metrics, {key for run in done for key in run.metrics})
    _check(
        "setting", [*(rows or ()), *([pivot] if pivot else ())], {key for run in done for key in run.config}
    )
    apart = (pivot,) if pivot else ()
    keys = tuple(rows) if rows is not None else telling(done, apart)
    groups: dict[tuple[Any, ...], dict[Any, list[Run]]] = {}
    for run in done:
        name = tuple(run.config.get(key) for key in keys)
        groups.setdefault(name, {}).setdefault(run.config.get(pivot) if pivot else None, []).append(run)
    values = _ordered({value for group in groups.values() for value in group})
    wanted = list(product(values, metrics))
    heads = [_heading(pivot, value) + (f": {metric}" if len(metrics) > 1 else "") for value, metric in wanted]
    within = [varying([run.config for run in found]) for group in groups.values() for found in group.values()]
    return ResultTable(
        keys=keys,
        columns=tuple(heads) if pivot else tuple(metrics),
        rows=tuple(
            (name, tuple(_cell(metric, groups[name].get(value, [])) for value, metric in wanted))
            for name in _ordered(groups)
        ),
        title=_titled(metrics[0]) if pivot and len(metrics) == 1 else None,
        averaged=tuple(dict.fromkeys(k for keys_ in within for k in keys_ if not SEED.search(k))),
    )


def _titled(metric: str) -> str:
    return metric + (", %" if _PERCENT.search(metric) else "")


def _heading(pivot: str | None, value: Any) -> str:
    return f"no {pivot}" if value is None else f"{pivot}={value}"


def telling(runs: Sequence[Run], apart: Sequence[str] = ()) -> tuple[str, ...]:
    """The settings that tell runs apart: not seeds, not ``apart``, nor what follows from others before."""
    same_as = {"M": ("basis.M",)}
    left_out = {*apart, *(other for key in apart for other in same_as.get(key, ()))}
    kept: list[str] = []
    for key in varying([run.config for run in runs]):
        if SEED.search(key) or key in left_out:
            continue
        groups: dict[tuple[Any, ...], set[Any]] = {}
        for run in runs:
            groups.setdefault(tuple(run.config.get(k) for k in kept), set()).add(run.config.get(key))
        if any(len(values) > 1 for values in groups.values()):
            kept.append(key)
    return tuple(kept)


def _cell(metric: str, runs: Iterable[Run]) -> Cell | None:
    values = tuple(run.metrics[metric] for run in runs if metric in run.metrics)
    return Cell(metric, values) if values else None


def _check(kind: str, names: Sequence[str], known: set[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"no run has the {kind} {unknown[0]!r}; there are {', '.join(sorted(known))}")


def _ordered(values: Iterable[Any]) -> list[Any]:
    """Numbers by size, everything else by text."""

    def place(value: Any) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return tuple(place(item) for item in value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return (0, value, "") if number else (1, 0, str(value))

    return sorted(values, key=place)


def records(table: ResultTable) -> list[dict[str, Any]]:
    """One record per cell, for programs: settings, column, metric, mean, std, number of runs."""
    found: list[dict[str, Any]] = []
    for name, cells in table.rows:
        settings: Mapping[str, Any] = dict(zip(table.keys, name, strict=True))
        for column, cell in zip(table.columns, cells, strict=True):
            if cell is not None:
                numbers = {"mean": cell.mean, "std": cell.std, "runs": len(cell.values)}
                found.append({**settings, "column": column, "metric": cell.metric, **numbers})
    return found
