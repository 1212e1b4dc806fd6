"""``python -m taskbasis.store verify``: read every stored file again and name what is damaged."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from taskbasis.store.store import Store


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if anything is damaged."""
    parser = argparse.ArgumentParser(prog="python -m taskbasis.store", description=__doc__)
    parser.add_argument("action", choices=["verify"])
    parser.add_argument("--root", type=Path, default=Path("outputs/store"), help="the store (%(default)s)")
    options = parser.parse_args(arguments)
    console = Console()
    if not options.root.is_dir():
        console.print(f"no store at {options.root}", style="red")
        return 1
    count, problems = Store(options.root).verify()
    for problem in problems:
        console.print(problem, style="red")
    console.print(f"{count} artifacts read, {len(problems)} damaged")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
