"""``python -m taskbasis.data``: look at the mini suite; fetch, decode and check the real datasets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from taskbasis.command import parse_with_settings, run_plain
from taskbasis.config import compose
from taskbasis.errors import TaskbasisError

if TYPE_CHECKING:
    from taskbasis.data.vision import VisionSuite
    from taskbasis.store import Store

EPILOG = """examples:
  python -m taskbasis.data preview --suite mini
  python -m taskbasis.data prepare --suite vision --scenario 8 --root data
  python -m taskbasis.data prepare --suite vision --tasks Cars,MNIST --control --root data
  python -m taskbasis.data check --suite vision --scenario 8 --root data suite.sources.Cars=hf

Words with = are settings of the suite and the model, as for python -m taskbasis.run (conf/suite/vision.yaml).
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 1 if a dataset is refused or missing.

    Raises:
        TaskbasisError: if the settings are refused, or the disk is short.
    """
    options, settings = parse_with_settings(_parser(), arguments)
    console = Console()
    if options.action == "preview":
        return _preview(options, console)
    return _vision(options, settings, console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m taskbasis.data",
        description="Look at and prepare data.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True)
    preview = actions.add_parser("preview", help="write a contact sheet: one row per task")
    preview.add_argument("--suite", choices=["mini"], default="mini")
    preview.add_argument("--split", choices=["train", "val", "test"], default="train")
    preview.add_argument("--seed", type=int, default=0, help="seed of the drawings (0: the public suite)")
    preview.add_argument("--columns", type=_columns, default=16, help="images per task (%(default)s)")
    preview.add_argument("--out", type=Path, default=Path("mini-preview.png"), help="(%(default)s)")
    for action, help_text in (
        ("prepare", "download, check and decode datasets, each once"),
        ("check", "say what is there, what is missing and what to do"),
    ):
        real = actions.add_parser(action, help=help_text)
        real.add_argument("--suite", choices=["vision"], default="vision")
        real.add_argument("--scenario", default="8", help="how many tasks, from the first (%(default)s)")
        real.add_argument("--tasks", help="these instead, separated by commas")
        real.add_argument("--control", action="store_true", help="the control of negation (ImageNet) too")
        real.add_argument("--root", default="outputs/data", help="folder of all data (%(default)s)")
        real.add_argument("--store", default="outputs/store", help="folder of the store (%(default)s)")
        real.add_argument("--model", default="vit_b_32", help="for the size of pixels (%(default)s)")
        real.usage = f"{real.format_usage().removeprefix('usage: ').rstrip()} [key=value ...]"
    return parser


def _columns(text: str) -> int:
    if (columns := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return columns


def _preview(options: argparse.Namespace, console: Console) -> int:
    from taskbasis.data.preview import write_contact_sheet

    write_contact_sheet(options.out, split=options.split, seed=options.seed, columns=options.columns)
    console.print(f"wrote {options.out}")
    return 0


def _vision(options: argparse.Namespace, overrides: Sequence[str], console: Console) -> int:
    from taskbasis.builders import build_suite
    from taskbasis.data.vision import VisionSuite
    from taskbasis.data.vision.catalog import CONTROL
    from taskbasis.store import Store

    tasks = [f"tasks=[{options.tasks}]"] if options.tasks else []
    places = [f"paths.data={options.root}", f"paths.store={options.store}"]
    chosen = ["suite=vision", f"model={options.model}", f"scenario={options.scenario}"]
    composed = compose([*chosen, *places, *tasks, *overrides])
    suite, wanted = build_suite(composed)
    assert isinstance(suite, VisionSuite)
    names = [task.name for task in wanted] + [CONTROL] * options.control
    store = Store(composed.config.paths.store)
    act = _prepare if options.action == "prepare" else _check
    return act(suite, store, names, console)


def _prepare(suite: VisionSuite, store: Store, names: Sequence[str], console: Console) -> int:
    from taskbasis.data.vision.prepare import check_space, need, prepare

    needs = [need(suite, store, name) for name in names]
    fetched, stored = sum(n.data_gb for n in needs), sum(n.store_gb for n in needs)
    console.print(
        f"{fetched:.1f} GB to download and unpack in {suite.root}, {stored:.1f} GB of pixels in {store.root}"
    )
    check_space(needs, Path(suite.root), store.root)
    refused = 0
    for position, name in enumerate(names, start=1):
        with console.status(name) as status:
            try:
                prepare(suite, store, name, lambda name, what: status.update(f"{name}: {what}"))
            except TaskbasisError as error:
                console.print(f"refused: {error}", style="red", markup=False, soft_wrap=True)
                refused += 1
                continue
        console.print(f"{position}/{len(names)} {name} is ready")
    return 1 if refused else 0


def _check(suite: VisionSuite, store: Store, names: Sequence[str], console: Console) -> int:
    from taskbasis.data.vision.prepare import check

    findings = [check(suite, store, name) for name in names]
    table = Table("dataset", "source", "train / val / test", "")
    for finding in findings:
        table.add_row(
            finding.name,
            finding.source,
            finding.sizes,
            finding.message if finding.ready else "missing or wrong",
        )
    console.print(table)
    for finding in findings:
        if not finding.ready:
            console.print(finding.message, style="red", markup=False, soft_wrap=True)
    return 0 if all(finding.ready for finding in findings) else 1


if __name__ == "__main__":
    run_plain(main)
