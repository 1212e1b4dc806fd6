"""One job of a sweep: whether it may begin, and what is noted about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskbasis.config import Composed
from taskbasis.job import Place, describe, execute, redactor_of
from taskbasis.sweeps.journal import Journal
from taskbasis.sweeps.objective import objective_value
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
        overrides: of the job, as they are shown.
        optimised: whether the sweep chooses jobs by their values.

    Raises:
        TaskbasisError: whatever the job is refused for or fails with; it is noted first.
    """
    note = journal.job(number, overrides)
    if journal.stopped:
        note.end("not started")
        return None
    job: Composed | None = None
    try:
        job = compose()
        done = execute(job, Place(journal.name, number, journal.jobs, journal.started))
        value = objective_value(done.result, job.config.objective) if optimised else None
    except BaseException as error:
        text = describe(error)
        run, text = (job.run_name, redactor_of(job).text(text)) if job else (None, text)
        note.end("failed" if isinstance(error, Exception) else "interrupted", run, error=text)
        if job is not None and job.config.on_error == "stop":
            journal.stop()
        raise
    note.end("skipped" if done.skipped else "completed", job.run_name, metrics=metrics(done.result))
    return value
