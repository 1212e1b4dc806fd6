"""One job of a sweep: whether it may begin, and what is noted about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskbasis.config import Composed
from taskbasis.job import Place, describe, execute
from taskbasis.sweeps.journal import Journal
from taskbasis.sweeps.objective import objective_value
from taskbasis.tracking.redaction import Redactor, redactor_of
from taskbasis.tracking.results import metrics


def run_member(
    compose: Callable[[], Composed],
    journal: Journal,
    number: int,
    overrides: Sequence[str],
    *,
    optimised: bool,
) -> float | None:
    """Run one job of a sweep and note what became of it; the value that the sweep optimises, if it does.

    Args:
        compose: makes the job's configuration.
        journal: of the sweep; if it was stopped the job does not begin, and the value is None.
        number: of the job, from 0.
        overrides: of the job; paths of this machine are noted by their names.
        optimised: whether the sweep chooses jobs by their values.

    Raises:
        TaskbasisError: whatever the job is refused for or fails with; it is noted first.
    """
    job = _composed(compose)
    redactor = Redactor() if isinstance(job, BaseException) else redactor_of(job)
    note = journal.job(number, redactor.value(overrides))
    if journal.stopped:
        note.end("not started")
        return None
    try:
        if isinstance(job, BaseException):
            raise job
        done = execute(job, Place(journal.name, number, journal.jobs, journal.started))
        value = objective_value(done.result, job.config.objective) if optimised else None
    except BaseException as error:
        run = job.run_name if isinstance(job, Composed) else None
        status = "failed" if isinstance(error, Exception) else "interrupted"
        note.end(status, run, error=redactor.text(describe(error)))
        if isinstance(job, Composed) and job.config.on_error == "stop":
            journal.stop()
        raise
    note.end("skipped" if done.skipped else "completed", job.run_name, metrics=metrics(done.result))
    return value


def _composed(compose: Callable[[], Composed]) -> Composed | BaseException:
    """The job's configuration, or what it is refused for, which is noted before it is raised."""
    try:
        return compose()
    except BaseException as error:  # noqa: BLE001 - raised again by the caller
        return error
