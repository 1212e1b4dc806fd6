"""``python -m taskbasis.table [DIR …]``: runs as a table, seeds as mean ± standard deviation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from taskbasis.command import add_run_folders, check_folders, run_plain
from taskbasis.tracking.collection import Collection, Run
from taskbasis.tracking.render import SUFFIXES, TEXTS, rich_table, write_table_file
from taskbasis.tracking.tables import make_table

DEFAULT = (
    "addition/test/top1",
    "addition/test/normalized_top1",
    "negation/test/target_top1",
    "negation/test/control_top1",
)
"""Metrics that are shown unless others are asked for, as far as runs have them."""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        ConfigError: if there is no such folder, run, setting or metric.
        StoreError: if the file cannot be written.
    """
    options = _parser().parse_args(arguments)
    check_folders(options.folders)
    collection = Collection(options.folders)
    runs = [run for run in collection.runs() if _kept(run, options.where)]
    known = {key for run in runs for key in run.metrics}
    metrics = options.metrics or [key for key in DEFAULT if key in known]
    if options.pivot and not options.metrics:
        metrics = metrics[-1:] if len(metrics) == 1 else metrics[1:2]
    table = make_table(runs, metrics, options.rows, options.pivot)
    notes = Console(stderr=True)
    for path, reason in collection.unreadable.items():
        notes.print(f"left out {path}: {reason}", markup=False, soft_wrap=True)
    if table.averaged:
        notes.print(f"cells are means also over {', '.join(table.averaged)}", markup=False, soft_wrap=True)
    if options.out is not None:
        write_table_file(table, options.out)
        Console().print(f"{len(table.rows)} rows: {options.out}", soft_wrap=True)
    elif options.format == "rich":
        Console().print(rich_table(table))
    else:
        sys.stdout.write(TEXTS[options.format](table))
    return 0


def _kept(run: Run, conditions: Sequence[tuple[str, list[str]]]) -> bool:
    return all(str(run.config.get(key)) in values for key, values in conditions)


def _condition(text: str) -> tuple[str, list[str]]:
    key, equals, values = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: accepted is KEY=VALUE[,VALUE…]")
    return key, values.split(",")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taskbasis.table", description=__doc__)
    add = parser.add_argument
    add_run_folders(parser)
    add("--rows", nargs="+", metavar="KEY", help="settings that name the rows (those that tell runs apart)")
    add("--pivot", metavar="KEY", help="a setting whose values become columns, such as M")
    add("--metrics", nargs="+", metavar="NAME", help="what is shown (accuracies)")
    add("--where", nargs="+", type=_condition, default=[], metavar="KEY=VALUE", help="only these runs")
    add("--format", choices=("rich", *TEXTS), default="rich", help="how it is printed (%(default)s)")
    add("--out", type=Path, metavar="FILE", help=f"write a file instead: {', '.join(SUFFIXES)}")
    return parser


if __name__ == "__main__":
    run_plain(main)
