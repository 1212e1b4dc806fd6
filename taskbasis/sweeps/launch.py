"""The beginning and the end of a sweep, in the process that launches it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import clear_frames
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write
from rich.console import Console

from taskbasis.command import INTERRUPTED
from taskbasis.config import Composed, composed, explain, is_hydra_error, semantic_overrides
from taskbasis.errors import ConfigError, TaskbasisError
from taskbasis.sweeps.journal import Journal, sweep_name
from taskbasis.sweeps.objective import check_objective
from taskbasis.sweeps.search import describe_search, first_choice, follow_objective, search_settings
from taskbasis.sweeps.summary import concluded, summary_table
from taskbasis.tracking.redaction import redactor_of

BASIC = f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}"
"""The sweeper that runs every combination, all of them known beforehand."""
ON_ERROR = ("continue", "stop")


@dataclass(frozen=True)
class Launched:
    """A sweep that this process has launched."""

    journal: Journal
    quiet: bool


_launched: Launched | None = None


class ShowPlan(Callback):
    """Names the sweep's folder by what it asks for, shows what remains to be done, and keeps memory flat."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Plan the sweep; leaves the program if it cannot run as configured."""
        try:
            _open_sweep(config)
        except Exception as error:
            # Hydra turns exceptions of callbacks into warnings and goes on.
            if isinstance(error, TaskbasisError):
                sys.exit(f"error: {error}")
            if is_hydra_error(error):
                sys.exit(f"error: {explain(error)}")
            raise

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Let go of what a job leaves: Hydra keeps its return until the sweep has ended."""
        job_return.cfg = job_return.hydra_cfg = None
        if job_return.status is JobStatus.FAILED and (error := job_return._return_value).__traceback__:
            # Its frames hold models and data.
            clear_frames(error.__traceback__)


@contextmanager
def closing_sweep() -> Iterator[None]:
    """Show how the sweep ended that the block launches, if it launches one.

    Leaves the program with an exit code other than 0 unless every job is done.
    """
    try:
        yield
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        if _launched is None or not (_close(_launched, interrupted) or interrupted):
            raise
        sys.exit(INTERRUPTED if interrupted else 1)
    if _launched is not None and _close(_launched, False):
        sys.exit(1)


def optimises(sweeper: Mapping[Any, Any]) -> bool:
    """Whether a sweeper, as configured, chooses jobs by the values of others."""
    return bool(sweeper["_target_"] != BASIC)


def _open_sweep(config: DictConfig) -> None:
    global _launched
    check_objective(config.objective)
    if config.on_error not in ON_ERROR:
        raise ConfigError(f"on_error={config.on_error!r}: accepted are {', '.join(ON_ERROR)}")
    asked = [f"{k}={v}" for k, v in (config.hydra.sweeper.get("params") or {}).items()]
    asked += list(config.hydra.overrides.task)
    search = optimises(config.hydra.sweeper)
    console = Console(quiet=config.verbosity == "quiet")
    with console.status("composing jobs"):
        jobs = _jobs(config, asked, search)
    if search:
        check_objective(config.objective, jobs[0].config.evaluation.protocols)
        follow_objective(config)
    name = sweep_name(semantic_overrides(asked) + (search_settings(config) if search else []))
    journal = Journal(Path(config.hydra.sweep.dir) / name)
    _move_to(config, journal.folder)
    if not console.quiet:
        _show(console, jobs, name, describe_search(config) if search else None)
    journal.begin(
        _without_paths(asked, jobs), None if search else len(jobs), config.objective if search else None
    )
    _launched = Launched(journal, console.quiet)


def _close(launched: Launched, interrupted: bool) -> bool:
    """Show what became of the jobs; whether any of them is not done."""
    notes = concluded(launched.journal)
    undone = any(note["status"] not in ("completed", "skipped") for note in notes)
    if undone or not launched.quiet:
        console = Console()
        console.print(summary_table(launched.journal, notes))
        if interrupted:
            console.print("interrupted; the same command goes on where this one stopped")
    # Hydra's own record of the sweep holds paths of this machine.
    (launched.journal.folder / "multirun.yaml").unlink(missing_ok=True)
    return undone


def _jobs(config: DictConfig, asked: list[str], search: bool) -> list[Composed]:
    """Every job of the sweep, composed as its launcher will; of a search one that it may ask for."""
    loader = GlobalHydra.instance().config_loader()
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(asked)
    combinations = [first_choice(overrides)] if search else BasicSweeper.split_arguments(overrides, None)[0]
    jobs = []
    for combination in combinations:
        job = loader.load_sweep_config(config, list(combination))
        jobs.append(composed(job, dict(job.hydra.runtime.choices), list(job.hydra.overrides.task)))
    return jobs


def _without_paths(asked: list[str], jobs: list[Composed]) -> list[str]:
    """What was asked for, without the folders of this machine that any of the jobs uses."""
    for job in jobs:
        asked = redactor_of(job).value(asked)
    return asked


def _move_to(config: DictConfig, folder: Path) -> None:
    """Let the sweep's folder be ``folder``, for Hydra here and in every job."""
    with read_write(config), open_dict(config):
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{folder}'")


def _show(console: Console, jobs: list[Composed], name: str, search: str | None) -> None:
    # Imported now: the stages need torch, which --help and refusals do not.
    from taskbasis.sweeps.plan import plan_sweep, plan_table

    with console.status(f"planning {len(jobs)} jobs"):
        plan = plan_sweep(jobs)
    console.print(plan_table(plan, name, search))
