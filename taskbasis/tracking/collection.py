"""All runs under some folders, read from their ``result.json`` alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from taskbasis.tracking.results import metrics

RESULT = "result.json"
CHOSEN = ("model", "suite", "basis", "merge")
"""Groups whose chosen option is shown under the group's name."""
_SCALARS = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Run:
    """One run that was found."""

    folder: Path
    result: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the run."""
        return str(self.result["run"]["id"])

    @property
    def status(self) -> str:
        """``completed`` or ``failed``."""
        return str(self.result["run"]["status"])

    @cached_property
    def config(self) -> dict[str, Any]:
        """Every setting that can change a result, by dotted key; groups by their chosen option."""
        flat = flatten(self.result["config"])
        targets = {key: flat.pop(key) for key in list(flat) if key.endswith("._target_")}
        named = {group: targets.get(f"{group}._target_", "").rpartition(".")[2] for group in CHOSEN}
        named |= {k: v for k, v in self.result["run"].get("choices", {}).items() if k in CHOSEN}
        if flat.get("basis.M", flat.get("M")) == flat.get("M"):
            flat.pop("basis.M", None)
        first = {key: value for key, value in named.items() if value}
        return first | ({"M": flat["M"]} if flat.get("M") is not None else {}) | flat

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Numbers worth comparing, also of protocols that this version does not know; none of failed runs."""
        if self.status != "completed":
            return {}
        numbers = {key: value for key, value in metrics(self.result).items() if value is not None}
        for protocol, found in self.result["protocols"].items():
            if not any(key.startswith(f"{protocol}/") for key in numbers):
                numbers |= {f"{protocol}/{k}": v for k, v in found.items() if _is_number(v)}
        seconds = self.result["run"].get("seconds", {})
        return numbers | {"seconds": round(sum(seconds.values()), 3)}


class Collection:
    """The runs under some folders; files that did not change are not read again.

    Args:
        folders: where to look, at any depth.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self.unreadable: dict[Path, str] = {}
        """Why files that look like results are not among the runs."""
        self._read: dict[Path, tuple[tuple[int, int], Run | str]] = {}

    def runs(self) -> list[Run]:
        """All runs, in the order of their folders' names."""
        known, self._read = self._read, {}
        for path in dict.fromkeys(p for folder in self.folders for p in find_results(folder)):
            try:
                stamp = (path.stat().st_mtime_ns, path.stat().st_size)
            except OSError:
                continue
            before = known.get(path)
            self._read[path] = before if before and before[0] == stamp else (stamp, _read(path))
        found = [run for _, run in self._read.values()]
        self.unreadable = {path: run for path, (_, run) in self._read.items() if isinstance(run, str)}
        return [run for run in found if isinstance(run, Run)]

    @property
    def state(self) -> str:
        """Changes whenever the last look found anything else than the one before."""
        return str(hash(tuple((path, stamp) for path, (stamp, _) in self._read.items())))


def find_results(folder: Path) -> Iterator[Path]:
    """Every ``result.json`` under ``folder``; what lies deeper than one of them is not looked at."""
    for directory, folders, files in os.walk(folder):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        if RESULT in files:
            folders.clear()
            yield Path(directory) / RESULT


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key; lists become text."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, _SCALARS) else _text(value)
    return flat


def varying(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values differ between mappings, in the order of their first appearance."""
    keys = dict.fromkeys(key for run in runs for key in run)
    return [key for key in keys if len({json.dumps(run.get(key)) for run in runs}) > 1]


def _read(path: Path) -> Run | str:
    try:
        run = Run(path.parent, json.loads(path.read_text()))
        if run.result["schema"] != 1:
            return f"schema {run.result['schema']} is not known to this version"
        # Whatever is missing shows now, not where the run is used.
        _ = run.name, run.status, run.config, run.metrics
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        return f"{type(error).__name__}: {error}"
    return run


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value):
        return ", ".join(map(str, value))
    return json.dumps(value)
