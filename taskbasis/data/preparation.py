"""Pixels of all tasks of a job, each made once, by worker processes."""

from __future__ import annotations

from dataclasses import dataclass

from taskbasis.data.suite import Suite
from taskbasis.parallel import Begin, Progress, Report, Workers
from taskbasis.store import Artifact, Store

STAGE = "data"


@dataclass(frozen=True)
class PixelJob:
    """One task whose pixels are wanted."""

    store: Store
    suite: Suite
    task: str
    splits: tuple[str, ...]
    train: bool
    """Whether the training images are wanted too."""


def prepare(job: PixelJob, report: Report) -> dict[str, Artifact]:
    """The pixels of a task by split; the training images are made ready but not returned."""
    total = len(job.splits) + job.train
    found = {}
    for done, split in enumerate(job.splits):
        report(Progress(STAGE, job.task, done, total))
        found[split] = job.suite.pixels(job.store, job.task, split)
    if job.train:
        report(Progress(STAGE, job.task, len(job.splits), total))
        job.suite.training_set(job.store, job.task)
    report(Progress(STAGE, job.task, total, total))
    return found


def prepare_all(jobs: list[PixelJob], workers: Workers) -> dict[str, dict[str, Artifact]]:
    """Pixels by task name and split, in the order of the jobs."""
    workers.report(Begin(STAGE, len(jobs)))
    return {job.task: pixels for job, pixels in zip(jobs, workers.map(prepare, jobs), strict=True)}
