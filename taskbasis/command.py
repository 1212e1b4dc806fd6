"""What all commands share: errors of users are one line and exit code 1; progress is one bar."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import hydra
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from taskbasis.config import config_dir, explain, is_hydra_error, quote_numbers
from taskbasis.errors import ConfigError, TaskbasisError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it; being asked to terminate is taken for the same."""


def run_hydra(
    entry: str, job: Callable[[DictConfig], object], around: AbstractContextManager[object] | None = None
) -> None:
    """Compose the configuration ``entry`` from the command line and run ``job`` on it.

    Args:
        entry: name of the file in ``conf``.
        job: called with the configuration, once or for every job of a sweep.
        around: what is entered before and left after all jobs.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.argv[1:] = quote_numbers(sys.argv[1:])
    traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Hydra would print a traceback of its own and leave; errors must reach the handlers below.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    command = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=entry)(job)
    try:
        with around or nullcontext():
            command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except TaskbasisError as error:
        if traceback_wanted:
            raise
        sys.exit(f"error: {error}")
    except Exception as error:
        if traceback_wanted or not is_hydra_error(error):
            raise
        sys.exit(f"error: {explain(error)}")
    finally:
        _skip_last_collection()


def run_plain(main: Callable[[Sequence[str]], int]) -> None:
    """Run a command that parses its own arguments, and leave with its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except TaskbasisError as error:
        sys.exit(f"error: {error}")
    finally:
        _skip_last_collection()
    sys.exit(code)


@contextmanager
def heavy_imports() -> Iterator[None]:
    """A block that imports large libraries, which takes a third less without looking for garbage.

    They make a million objects that live as long as the process.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _skip_last_collection() -> None:
    """Do not search all objects of torch for garbage once more before leaving, which takes half a second."""
    # Triton reports what was not collected as leaks.
    if "triton" not in sys.modules:
        gc.freeze()


def parse_with_settings(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Parsed arguments, and the words with ``=`` among them: settings, which may stand anywhere."""
    options, settings = parser.parse_known_args(arguments)
    if unknown := [word for word in settings if word.startswith("-") or "=" not in word]:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}; settings are given as key=value")
    return options, settings


def add_run_folders(parser: argparse.ArgumentParser) -> None:
    """Let a command take folders of runs, :attr:`folders`."""
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        default=[Path("outputs/runs")],
        metavar="DIR",
        help="where runs are, at any depth (outputs/runs)",
    )


def check_folders(folders: Sequence[Path]) -> None:
    """Refuse folders that do not exist.

    Raises:
        ConfigError: naming the first of them.
    """
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise ConfigError(f"{missing[0]} is not a folder")


Report = Callable[[int, int], None]
"""Called with how much is done and how much there is to do."""


@contextmanager
def progress_bars(console: Console, *titles: str) -> Iterator[tuple[Report, ...]]:
    """A bar per title on a terminal, nothing elsewhere; yields what each is reported to."""
    columns = (
        TextColumn("[bold]{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        yield tuple(_report(bars, title) for title in titles)


def _report(bars: Progress, title: str) -> Report:
    task = bars.add_task(title, total=None, start=False)

    def report(done: int, total: int) -> None:
        if not bars.tasks[task].started:
            bars.start_task(task)
        bars.update(task, completed=done, total=total)

    return report
