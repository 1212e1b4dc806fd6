"""The folder of a sweep: what it consists of, and what became of each job.

Jobs may run in other processes or on other machines; each writes a file of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from taskbasis.store import digest, write_json, write_text


def sweep_name(overrides: Sequence[str]) -> str:
    """The name of the sweep that these overrides ask for: equal when it is launched again."""
    return f"sweep-{digest(list(overrides))[:8]}"


class Journal:
    """Reads and writes a sweep's folder: ``sweep.json`` and ``jobs/NNNN.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, overrides: Sequence[str], jobs: int | None, objective: str | None = None) -> None:
        """Start the sweep, anew or again.

        Args:
            overrides: what was asked for.
            jobs: how many jobs there are; None if a sweeper decides as it goes.
            objective: what a sweeper decides by.

        Raises:
            StoreError: if the folder cannot be written.
        """
        for note in self.folder.glob("jobs/*.json"):
            note.unlink()
        self._stop.unlink(missing_ok=True)
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        facts = {"overrides": list(overrides), "jobs": jobs, "objective": objective, "started": started}
        write_json(self.folder / "sweep.json", facts)

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self.folder.name

    @property
    def jobs(self) -> int | None:
        """Number of jobs, if it is known beforehand."""
        jobs: int | None = self.description["jobs"]
        return jobs

    @property
    def objective(self) -> str | None:
        """What the sweep optimises, if its jobs are chosen by the results of others."""
        objective: str | None = self.description["objective"]
        return objective

    @property
    def description(self) -> dict[str, Any]:
        """Overrides, number of jobs, objective and start of the sweep."""
        described: dict[str, Any] = json.loads((self.folder / "sweep.json").read_text())
        return described

    @property
    def started(self) -> datetime:
        """When the sweep was launched."""
        return datetime.fromisoformat(self.description["started"])

    def job(self, number: int, overrides: Sequence[str]) -> JobNote:
        """The note of a job that begins now."""
        return JobNote(self.folder / "jobs" / f"{number:04d}.json", number, overrides)

    def notes(self) -> list[dict[str, Any]]:
        """What is known of the jobs that began, in their order."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("jobs/*.json"))]

    def stop(self) -> None:
        """Let no further job begin."""
        write_text(self._stop, "")

    @property
    def stopped(self) -> bool:
        """Whether no further job should begin."""
        return self._stop.exists()

    @property
    def _stop(self) -> Path:
        return self.folder / "stop"


class JobNote:
    """What is written about one job while it runs and when it ends."""

    def __init__(self, path: Path, number: int, overrides: Sequence[str]) -> None:
        self._path, self._begun = path, time.perf_counter()
        self._facts: dict[str, Any] = {"number": number, "overrides": list(overrides), "run": None}
        self.end("running")

    def end(self, status: str, run: str | None = None, **facts: Any) -> None:
        """Record how the job ended.

        Args:
            status: completed, skipped, failed, interrupted or not started.
            run: name of the run folder.
            facts: error or metrics.
        """
        seconds = round(time.perf_counter() - self._begun, 3)
        write_json(self._path, self._facts | {"run": run, "status": status, "seconds": seconds, **facts})
