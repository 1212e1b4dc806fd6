"""What the page shows of a run: a small row for the table, and details for those that are compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskbasis.tracking.collection import Collection, Run
from taskbasis.tracking.results import mean_top1, test_counts, top1

_DIGITS = 6


def key_of(run: Run) -> str:
    """A short name of a run folder, unique among folders."""
    return hashlib.sha256(str(run.folder.absolute()).encode()).hexdigest()[:12]


def table_content(collection: Collection, links: Mapping[Path, str]) -> dict[str, Any]:
    """Rows of all runs, and what could not be read.

    Args:
        collection: where runs are looked for, now.
        links: for run folders, the address they can be opened at.
    """
    rows = [_row(run, links.get(run.folder)) for run in collection.runs()]
    unreadable = [{"path": p.parent.name, "reason": why} for p, why in collection.unreadable.items()]
    return {"runs": rows, "unreadable": unreadable}


def details(run: Run) -> dict[str, Any]:
    """Everything that is plotted of a completed run; only what is true of its protocols."""
    result = run.result
    if run.status != "completed":
        return {"tasks": result.get("tasks", [])}
    found = {
        "tasks": result["tasks"],
        "zeroshot": [top1(count) for count in test_counts(result, "zeroshot").values()],
        "finetuned": [top1(count) for count in test_counts(result, "finetuned").values()],
        "cosines": result["gram"]["cosines"],
        "encoder": result["basis"]["encoder"],
        "sources": result["basis"].get("sources", result["tasks"]),
        "seconds": result["run"].get("seconds", {}),
    }
    if (addition := result["protocols"].get("addition")) is not None:
        curve = addition["search"]["curve"]
        found["merged"] = [top1(count) for count in test_counts(result, "addition").values()]
        found["alpha"] = addition["search"]["alpha"]
        found["curve"] = [[point["alpha"], mean_top1(point["tasks"])] for point in curve]
    if (negation := result["protocols"].get("negation")) is not None:
        found["forgotten"] = [top1(negation["tasks"][task]["target"]) for task in result["tasks"]]
        found["control"] = [top1(negation["tasks"][task]["control"]) for task in result["tasks"]]
    return dict(_rounded(found))


def script_json(value: Any) -> str:
    """JSON that may stand inside a ``<script>`` element: nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _row(run: Run, link: str | None) -> dict[str, Any]:
    facts = run.result["run"]
    return {
        "key": key_of(run),
        "name": run.name,
        "status": run.status,
        "error": facts.get("error"),
        "started": facts.get("started", ""),
        "link": link,
        "config": run.config,
        "metrics": _rounded(run.metrics),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rounded(item) for item in value]
    return value
