"""What all commands share: errors of users are one line and exit code 1; progress is one bar."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from taskbasis.config import (
    Composed,
    composed,
    config_dir,
    explain,
    is_hydra_error,
    quote_numbers,
    register_schemas,
)
from taskbasis.errors import TaskbasisError

Report = Callable[[int, int], None]
"""Called with what is done and what there is to do."""


def run_hydra(entry: str, job: Callable[[Composed], object]) -> None:
    """Compose the configuration ``entry`` from the command line, check it, and run ``job`` on it."""
    sys.argv[1:] = quote_numbers(sys.argv[1:])
    traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Hydra would print a traceback of its own and leave; errors must reach the handlers below.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_schemas()

    def task(config: DictConfig) -> None:
        known = HydraConfig.get()
        job(composed(entry, config, dict(known.runtime.choices), list(known.overrides.task)))

    command = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=entry)(task)
    try:
        command()
    except TaskbasisError as error:
        if traceback_wanted:
            raise
        sys.exit(f"error: {error}")
    except Exception as error:
        if traceback_wanted or not is_hydra_error(error):
            raise
        sys.exit(f"error: {explain(error)}")


def run_plain(main: Callable[[Sequence[str]], int]) -> None:
    """Run a command of argparse on the command line and leave with its exit code."""
    try:
        sys.exit(main(sys.argv[1:]))
    except TaskbasisError as error:
        sys.exit(f"error: {error}")


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Report]:
    """A bar on a terminal, and nothing elsewhere; yields what to report to."""
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
