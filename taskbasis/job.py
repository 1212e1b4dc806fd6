"""One job around the pipeline: records, progress, mirror, and what happens when it fails."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from taskbasis.builders import build_plan
from taskbasis.config import Composed
from taskbasis.errors import ConfigError
from taskbasis.parallel import Begin, Event, workers
from taskbasis.pipeline import Clock, run_pipeline
from taskbasis.tracking.console import LEVELS, Display, set_up_logging, summary
from taskbasis.tracking.plots import write_plots
from taskbasis.tracking.records import RunRecord, worth_recording
from taskbasis.tracking.redaction import Redactor
from taskbasis.tracking.wandb_mirror import Mirror, MirrorSettings, open_mirror

_log = logging.getLogger(__name__)


def execute(job: Composed) -> dict[str, Any]:
    """Run a composed configuration and record it; the content of ``result.json``.

    Raises:
        TaskbasisError: what the configuration or a stage is refused for; it is recorded first.
    """
    config = job.config
    if config.verbosity not in LEVELS:
        raise ConfigError(f"verbosity={config.verbosity!r}: accepted are {', '.join(LEVELS)}")
    console = Console()
    set_up_logging(console, config.verbosity)
    plan = build_plan(job)
    settings = mirror_settings(job)
    redactor = Redactor({"data": config.paths.data, "store": config.paths.store, "runs": config.paths.runs})
    record = RunRecord(job, redactor)
    mirror = open_mirror(settings, redactor.value(job.semantic))
    torch.set_num_threads(plan.compute.threads)
    clock = Clock()
    facts: dict[str, Any] = {"seconds": clock.seconds, "device": device_name(plan.compute.accelerator)}
    try:
        with Display(console) as display:
            reporter = Reporter(display, record, mirror)
            with workers(plan.workers, plan.compute.threads, reporter) as pool:
                outcome = run_pipeline(plan, pool, clock)
            basis = outcome.compressed.basis
            for step, loss in enumerate(basis.history):
                values = {"loss": loss, "spectral_bound": basis.diagnostics.spectral_bound}
                reporter.record("basis", "", step, values)
        folder = basis.save(record.folder / "basis")
        result = record.finish(outcome.result(), run=facts | {"reused": outcome.reused})
        mirror.result(result, write_plots(result, record.folder / "plots"), folder)
    except BaseException as error:
        _log.error("failed: %s", error)
        record.finish({"tasks": [task.name for task in plan.tasks]}, run=facts, error=error)
        mirror.finish(exit_code=1)
        record.close()
        raise
    mirror.finish(exit_code=0)
    if LEVELS[config.verbosity] <= logging.INFO:
        console.print(summary(result))
        console.print(f"results: {record.folder}")
    record.close()
    return result


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


def mirror_settings(job: Composed) -> MirrorSettings:
    """What the W&B run of a job is called."""
    tracker = job.config.tracker
    groups = [f"{group}={job.choices[group]}" for group in ("model", "suite", "scenario", "basis", "merge")]
    return MirrorSettings(
        mode=tracker.mode,
        project=tracker.project,
        entity=tracker.entity,
        group=tracker.group,
        tags=(*groups, *tracker.tags),
        name=job.run_name,
        folder=Path(job.config.paths.runs) / job.run_name,
        timeout=tracker.timeout,
    )


def device_name(accelerator: str) -> str:
    """The name of the device for the records."""
    return torch.cuda.get_device_name() if accelerator == "gpu" else "cpu"
