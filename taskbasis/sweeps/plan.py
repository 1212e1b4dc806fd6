"""What a sweep consists of and what of it remains to be done, known before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from taskbasis.basis import NeedsSources
from taskbasis.builders import Plan, build_plan
from taskbasis.config import Composed
from taskbasis.errors import TaskbasisError
from taskbasis.finished import code_identity, finished_result
from taskbasis.pipeline import Models
from taskbasis.store import digest
from taskbasis.sweeps.peek import missing_of_basis, stored_models

KINDS = ("fine-tuned models", "Gram matrices", "bases", "results")
_MODEL_KEYS = ("model", "suite", "checkpoints", "finetune", "trainer", "smoke")


@dataclass
class SweepPlan:
    """The distinct things that a sweep needs, each with whether it is there already.

    They are told apart by what they are made from. What is in the store is found by keys that chain
    through content, so whatever depends on something that is not made yet counts as to be made.
    """

    jobs: int
    found: dict[str, dict[str, bool]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    """Per kind: whether it is stored, by identity."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Run name and reason of jobs that cannot run as configured."""

    def wanted(self, kind: str) -> int:
        """How many distinct ones the sweep needs."""
        return len(self.found[kind])

    def stored(self, kind: str) -> int:
        """How many of them are there already."""
        return sum(self.found[kind].values())

    def to_make(self, kind: str) -> int:
        """How many remain."""
        return self.wanted(kind) - self.stored(kind)


def plan_sweep(jobs: Sequence[Composed]) -> SweepPlan:
    """Count what a sweep needs and what of it is in the store; nothing is computed."""
    plan, survey = SweepPlan(len(jobs)), _Survey()
    for job in jobs:
        try:
            survey.add(job, build_plan(job), plan.found)
        except TaskbasisError as error:
            plan.refused.append((job.run_name, str(error)))
    return plan


class _Survey:
    """Looks for each distinct thing once."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, ...], Models | None] = {}

    def add(self, job: Composed, plan: Plan, found: Mapping[str, dict[str, bool]]) -> None:
        """Note what one job needs and what of it is stored."""
        semantic = job.semantic
        tuned, grams, bases, results = (found[kind] for kind in KINDS)
        tasks = self._tasks(semantic, plan, tuned)
        noise = semantic["basis"] if isinstance(plan.basis, NeedsSources) else None
        gram = digest({"tasks": tasks, "noise": noise})
        basis = digest({"gram": gram, "basis": semantic["basis"]})
        if basis not in bases:
            missing = self._missing(tasks, plan)
            grams[gram] = missing != "gram"
            bases[basis] = missing is None
        folder = Path(job.config.paths.runs) / job.run_name
        if job.fingerprint not in results:
            result = finished_result(folder, job.fingerprint, code_identity(plan))
            results[job.fingerprint] = result is not None and not job.config.force

    def _tasks(self, semantic: Mapping[str, Any], plan: Plan, tuned: dict[str, bool]) -> tuple[str, ...]:
        made_from = {key: semantic[key] for key in _MODEL_KEYS}
        identities = []
        for task in plan.tasks:
            identities.append(digest(made_from | {"task": task.name}))
            if identities[-1] not in tuned:
                alone = replace(plan, tasks=(task,), protocols=())
                tuned[identities[-1]] = stored_models(alone) is not None
        return tuple(identities)

    def _missing(self, tasks: tuple[str, ...], plan: Plan) -> str | None:
        if tasks not in self._models:
            self._models[tasks] = stored_models(replace(plan, protocols=()))
        models = self._models[tasks]
        return "gram" if models is None else missing_of_basis(plan, models)


def plan_table(plan: SweepPlan, name: str, search: str | None = None) -> Table:
    """The plan as it is shown before the first job.

    Args:
        plan: of all jobs, or of one that a search may ask for.
        name: of the sweep.
        search: what a search will do, if the jobs are not known beforehand.
    """
    doubled = plan.jobs - plan.wanted("results") - len(plan.refused)
    jobs = f"{plan.jobs} jobs" + (f", {doubled} of them equal to others" if doubled else "")
    table = Table(
        title=f"{name}: {search or jobs}",
        title_justify="left",
        caption=Text(_remarks(plan, search is not None)),
        caption_justify="left",
    )
    table.add_column("")
    for heading in ("needed", "there already", "to make"):
        table.add_column(heading, justify="right")
    for kind in KINDS:
        table.add_row(kind, *(str(count(kind)) for count in (plan.wanted, plan.stored, plan.to_make)))
    return table


def _remarks(plan: SweepPlan, search: bool) -> str:
    reasons: dict[str, list[str]] = {}
    for name, reason in plan.refused:
        reasons.setdefault(reason, []).append(name)
    lines = [
        f"{len(names)} refused: {names[0]}{' …' * (len(names) > 1)}: {reason}"
        for reason, names in reasons.items()
    ]
    if search:
        lines.append("counted for the first value of everything that is searched")
    if plan.to_make("fine-tuned models"):
        lines.append("what is made from models that are not there yet is counted by its settings")
    return "\n".join(lines)
