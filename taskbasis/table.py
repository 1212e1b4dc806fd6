"""``python -m taskbasis.table [DIR …]``: runs as a table, seeds as mean ± standard deviation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from taskbasis.command import add_run_folders, check_folders, run_plain
from taskbasis.errors import ConfigError
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
PIVOTED = ("addition/test/normalized_top1", *DEFAULT)
"""The first of them that runs have is shown where columns are the values of a setting."""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        ConfigError: if there is no such folder, run, setting or metric.
        StoreError: if the file cannot be written.
    """
    options = _parser().parse_args(arguments)
    check_folders(options.folders)
    collection = Collection(options.folders)
    runs = _kept(collection.runs(), options.where)
    known = {key for run in runs for key in run.metrics}
    shown = [key for key in PIVOTED if key in known][:1] if options.pivot else DEFAULT
    metrics = options.metrics or [key for key in shown if key in known]
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


def _kept(runs: Sequence[Run], conditions: Sequence[tuple[str, list[str]]]) -> list[Run]:
    """The runs that meet all conditions.

    Raises:
        ConfigError: if no run has a setting, or any of the values wanted of it.
    """
    kept = list(runs)
    for key, values in conditions if runs else ():
        given = f"{key}={','.join(values)}"
        settings = {name for run in runs for name in run.config}
        if key not in settings:
            there = ", ".join(sorted(settings))
            raise ConfigError(f"--where {given}: no run has this setting; there are {there}")
        found = {str(run.config.get(key)) for run in runs}
        if found.isdisjoint(values):
            raise ConfigError(f"--where {given}: no run has this value; there are {', '.join(sorted(found))}")
        kept = [run for run in kept if str(run.config.get(key)) in values]
    return kept


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
