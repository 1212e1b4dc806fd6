"""Runs on the mini suite in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taskbasis.config import compose
from taskbasis.run import run


def result(root: Path, *overrides: str) -> dict[str, Any]:
    """The result of a run on the mini suite with its store and records below ``root``."""
    places = [f"paths.root={root}", "tracker=none", "verbosity=quiet", "trainer=cpu"]
    return run(compose([*places, *overrides]))
