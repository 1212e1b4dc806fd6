"""One job around the pipeline: records, progress, mirror, and what happens when it fails."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from taskbasis.builders import Plan, build_plan
from taskbasis.config import Composed
from taskbasis.errors import ConfigError
from taskbasis.finished import code_identity, finished_result
from taskbasis.parallel import Begin, Event, jobs_at_once, workers
from taskbasis.pipeline import Clock, Outcome, run_pipeline
from taskbasis.store.locks import locked
from taskbasis.tracking.console import LEVELS, Display, one_line, set_up_logging, summary
from taskbasis.tracking.plots import write_plots
from taskbasis.tracking.records import RunRecord, worth_recording
from taskbasis.tracking.redaction import redactor_of
from taskbasis.tracking.wandb_artifacts import Made
from taskbasis.tracking.wandb_mirror import Mirror, MirrorSettings, NoMirror, open_mirror
from taskbasis.weights import save_basis, save_merged

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a job stands in a sweep."""

    sweep: str
    """Name of the sweep."""
    number: int
    """From 0."""
    jobs: int | None
    """How many there are, if that is known."""
    started: datetime
    """When the sweep was launched."""

    def __str__(self) -> str:
        return f"[{self.number + 1}/{self.jobs}]" if self.jobs else f"[{self.number + 1}]"


@dataclass(frozen=True)
class Done:
    """A job that is done."""

    result: dict[str, Any]
    """The content of its ``result.json``."""
    skipped: bool
    """Whether it was there already."""


def execute(job: Composed, place: Place | None = None) -> Done:
    """Run a composed configuration and record it, unless its result is there already.

    Args:
        job: what to run.
        place: where it stands in a sweep, if it is part of one.

    Raises:
        TaskbasisError: what the configuration is refused for, before anything is recorded, or a stage,
            once that is recorded.
    """
    if job.config.verbosity not in LEVELS:
        raise ConfigError(f"verbosity={job.config.verbosity!r}: accepted are {', '.join(LEVELS)}")
    console = Console()
    set_up_logging(console, job.config.verbosity)
    plan, settings = build_plan(job), mirror_settings(job, place)
    folder, code = run_folder(job), code_identity(plan)
    with locked(folder / ".lock"):
        found = _earlier_result(job, place, folder, code)
        result = found or _carry_out(job, plan, settings, code, Display(console, **_manner(place)))
    _conclude(job, place, result, found is not None, console)
    return Done(result, found is not None)


def _earlier_result(job: Composed, place: Place | None, folder: Path, code: str) -> dict[str, Any] | None:
    if not job.config.force:
        return finished_result(folder, job.fingerprint, code)
    # Equal jobs of one sweep run once, also when older results do not count.
    return finished_result(folder, job.fingerprint, code, place.started) if place else None


def _manner(place: Place | None) -> dict[str, Any]:
    """How a job shows its progress: those of a sweep leave the stages to their logs."""
    return {"live": jobs_at_once() == 1, "level": logging.DEBUG if place else logging.INFO}


def _carry_out(
    job: Composed, plan: Plan, settings: MirrorSettings, code: str, display: Display
) -> dict[str, Any]:
    redactor = redactor_of(job)
    record = RunRecord(job, redactor)
    mirror: Mirror = NoMirror()
    torch.set_num_threads(plan.compute.threads)
    clock = Clock()
    facts: dict[str, Any] = {
        "code": code,
        "seconds": clock.seconds,
        "device": device_name(plan.compute.accelerator),
    }
    try:
        mirror = open_mirror(settings, redactor.value(job.semantic))
        with display:
            outcome = _run(plan, clock, Reporter(display, record, mirror))
        folder = save_basis(outcome, record.folder / "basis", atoms=settings.weights)
        merged = save_merged(plan, outcome, record.folder) if settings.weights else None
        result = record.content(outcome.result(), run=facts | {"reused": outcome.reused})
        plots = write_plots(result, record.folder / "plots")
        record.write(result)
        mirror.result(result, plots, Made(folder, merged))
    except BaseException as error:
        _log.error("%s failed: %s", job.run_name, describe(error))
        _log.debug("where it failed", exc_info=error)
        tasks = [task.name for task in plan.tasks]
        record.write(record.content({"tasks": tasks}, run=facts, error=describe(error)))
        mirror.finish(exit_code=1)
        raise
    else:
        mirror.finish(exit_code=0)
    finally:
        record.close()
    return result


def _run(plan: Plan, clock: Clock, reporter: Reporter) -> Outcome:
    compute = plan.compute
    with workers(compute.workers, compute.threads, reporter, apart=compute.devices > 1) as pool:
        outcome = run_pipeline(plan, pool, clock)
    basis = outcome.compressed.basis
    for step, loss in enumerate(basis.history):
        values = {"loss": loss, "spectral_bound": basis.diagnostics.spectral_bound}
        reporter.record("basis", "", step, values)
    return outcome


def _conclude(
    job: Composed, place: Place | None, result: Mapping[str, Any], found: bool, console: Console
) -> None:
    if LEVELS[job.config.verbosity] > logging.INFO:
        return
    if place is not None:
        line = f"{place} {one_line(result)}" + ("  (was there already)" if found else "")
        console.print(line, markup=False, highlight=False, soft_wrap=True)
        return
    console.print(summary(result))
    note = " (from an earlier run; force=true runs it again)" if found else ""
    console.print(f"results: {run_folder(job)}{note}", soft_wrap=True)


class Reporter:
    """Passes the events of a pipeline to the display and its numbers to the records."""

    def __init__(self, display: Display, record: RunRecord, mirror: Mirror) -> None:
        self._display, self._sinks = display, (record, mirror)

    def __call__(self, event: Event) -> None:
        """Show an event and record its numbers, thinned to about a hundred points per item."""
        self._display(event)
        if isinstance(event, Begin) or not event.values or not worth_recording(event.done, event.total):
            return
        self.record(event.stage, event.item, event.done, event.values)

    def record(self, stage: str, item: str, step: float, values: Mapping[str, float]) -> None:
        """Record numbers at a step of an item of a stage."""
        for sink in self._sinks:
            sink.point(stage, item, step, values)


def run_folder(job: Composed) -> Path:
    """Where a job leaves its records."""
    return Path(job.config.paths.runs) / job.run_name


def describe(error: BaseException) -> str:
    """An error as it stands in records."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    return f"{type(error).__name__}: {error}"


def mirror_settings(job: Composed, place: Place | None = None) -> MirrorSettings:
    """What the W&B run of a job is called."""
    tracker = job.config.tracker
    groups = [f"{group}={job.choices[group]}" for group in ("model", "suite", "scenario", "basis", "merge")]
    return MirrorSettings(
        mode=tracker.mode,
        project=tracker.project,
        entity=tracker.entity,
        group=tracker.group or (place.sweep if place else None),
        job_type="+".join(job.config.evaluation.protocols),
        tags=(*groups, *tracker.tags),
        name=job.run_name,
        folder=run_folder(job),
        timeout=tracker.timeout,
        weights=tracker.weights and tracker.mode != "disabled",
    )


def device_name(accelerator: str) -> str:
    """The name of the device for the records."""
    return torch.cuda.get_device_name() if accelerator == "gpu" else "cpu"
