"""Runs on the mini suite in this process."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from taskbasis.config import compose
from taskbasis.run import run


def result(root: Path, *overrides: str) -> dict[str, Any]:
    """The result of a run on the mini suite with its store and records below ``root``."""
    places = [f"paths.root={root}", "tracker=none", "verbosity=quiet", "trainer=cpu"]
    return run(compose([*places, *overrides]))


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The arguments that the scripts share; the scripts add theirs."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="store and runs (%(default)s)")
    parser.add_argument(
        "--smoke", action="store_true", help="two tasks and twenty training steps each: does it run?"
    )
    return parser
