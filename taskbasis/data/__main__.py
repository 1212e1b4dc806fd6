"""``python -m taskbasis.data preview --suite mini``: look at the images of a suite."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from taskbasis.errors import TaskbasisError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if it is refused."""
    parser = argparse.ArgumentParser(prog="python -m taskbasis.data", description="Look at and prepare data.")
    actions = parser.add_subparsers(dest="action", required=True)
    preview = actions.add_parser("preview", help="write a contact sheet: one row per task")
    preview.add_argument("--suite", choices=["mini"], default="mini")
    preview.add_argument("--split", choices=["train", "val", "test"], default="train")
    preview.add_argument("--seed", type=int, default=0, help="seed of the drawings (0: the public suite)")
    preview.add_argument("--columns", type=int, default=16, help="images per task (%(default)s)")
    preview.add_argument("--out", type=Path, default=Path("mini-preview.png"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    console = Console()
    if options.columns < 1:
        parser.error(f"--columns {options.columns}: must be 1 or more")
    try:
        from taskbasis.data.preview import write_contact_sheet

        write_contact_sheet(options.out, split=options.split, seed=options.seed, columns=options.columns)
    except TaskbasisError as error:
        console.print(f"error: {error}", style="red")
        return 1
    console.print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
