"""The table that closes a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from taskbasis.sweeps.journal import Journal
from taskbasis.sweeps.objective import OBJECTIVES

_STYLES = {
    "completed": "green",
    "skipped": "dim",
    "failed": "red",
    "interrupted": "yellow",
    "not started": "yellow",
}
_NUMBERS = {
    "addition/test/top1": "merged top-1, %",
    "addition/test/normalized_top1": "normalized, %",
    "negation/test/target_top1": "forgotten, %",
    "negation/test/control_top1": "control, %",
}


def concluded(journal: Journal) -> list[dict[str, Any]]:
    """The notes of all jobs after the sweep: what is still noted as running was interrupted."""
    notes = [n | {"status": "interrupted"} if n["status"] == "running" else n for n in journal.notes()]
    known = {note["number"] for note in notes}
    missing = [number for number in range(journal.jobs or 0) if number not in known]
    notes += [{"number": n, "run": None, "status": "not started", "seconds": 0.0} for n in missing]
    return sorted(notes, key=lambda note: note["number"])


def counts(notes: Sequence[Mapping[str, Any]]) -> str:
    """How many jobs became what, in words."""
    numbers = {status: sum(note["status"] == status for note in notes) for status in _STYLES}
    return ", ".join(f"{number} {status}" for status, number in numbers.items() if number)


def summary_table(journal: Journal, notes: Sequence[Mapping[str, Any]]) -> Table:
    """One row per job: what became of it, its time, and its main numbers or its error."""
    objective = [journal.objective] if journal.objective else []
    shown = [key for key in _NUMBERS if any(key in note.get("metrics", {}) for note in notes)]
    table = Table(
        title=f"{journal.name}: {counts(notes)}",
        title_justify="left",
        caption=Text("\n".join([*_errors(notes), *_best(journal, notes)])),
        caption_justify="left",
    )
    for heading in ("job", "run", "status", "s", *(_NUMBERS[key] for key in shown), *objective):
        left = heading in ("run", "status")
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    for note in notes:
        numbers = note.get("metrics", {})
        cells = [f"{100 * value:.1f}" if (value := numbers.get(key)) is not None else "" for key in shown]
        cells += [f"{value:.6g}" if (value := numbers.get(key)) is not None else "" for key in objective]
        name = Text(note["run"] or " ".join(note.get("overrides", [])))
        status = Text(note["status"], style=_STYLES[note["status"]])
        table.add_row(str(note["number"] + 1), name, status, f"{note['seconds']:.1f}", *cells)
    return table


def _errors(notes: Sequence[Mapping[str, Any]]) -> list[str]:
    jobs: dict[str, list[str]] = {}
    for note in notes:
        if note.get("error"):
            jobs.setdefault(note["error"], []).append(str(note["number"] + 1))
    return [f"job {', '.join(numbers)}: {error}" for error, numbers in jobs.items()]


def _best(journal: Journal, notes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The job that a search looked for, in a line."""
    name = journal.objective
    values = [(note["metrics"][name], note) for note in notes if name in note.get("metrics", {})]
    if name is None or not values:
        return []
    # The first of equals is best: a later one may be the same run, asked for again.
    choose = max if OBJECTIVES[name] == "maximize" else min
    value, note = choose(values, key=lambda pair: pair[0])
    asked = journal.description["overrides"]
    chosen = " ".join(override for override in note["overrides"] if override not in asked)
    return [f"best {name}: {value:.6g}, job {note['number'] + 1}: {chosen}"]
