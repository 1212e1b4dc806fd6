"""The negation protocol: forget one task, keep the control.

For every task t the model θ₀ − α·v̂_t is scored; α is the one with the lowest validation accuracy on t
among those that keep at least a share of the zero-shot accuracy on the control task. α = 0, which always
does, is among them even where the grid leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from taskbasis.evaluation.counts import Count, mean_top1
from taskbasis.evaluation.scoring import Bench, Request, Scorer, Scoring, Weights
from taskbasis.evaluation.single import SingleScores
from taskbasis.models.stages import ENCODER
from taskbasis.parallel import Progress, Workers

STAGE = "negation"


@dataclass(frozen=True)
class Rule:
    """Which α count, and what the control must keep."""

    alphas: tuple[float, ...]
    """To try besides 0."""
    control: str
    """Name of the control task."""
    threshold: Fraction
    """Share of the control's zero-shot validation accuracy that must be kept."""


@dataclass(frozen=True)
class NegationPoint:
    """Validation counts at one α; the control's is None where it was not needed."""

    alpha: float
    target: Count
    control: Count | None


@dataclass(frozen=True)
class NegatedTask:
    """Outcome for one task."""

    alpha: float
    curve: tuple[NegationPoint, ...]
    target: Count
    """Test counts at the chosen α."""
    control: Count

    def as_dict(self) -> dict[str, Any]:
        """The form stored in results."""
        return {
            "alpha": self.alpha,
            "curve": [
                {
                    "alpha": point.alpha,
                    "target": point.target.as_dict(),
                    "control": None if point.control is None else point.control.as_dict(),
                }
                for point in self.curve
            ],
            "target": self.target.as_dict(),
            "control": self.control.as_dict(),
        }


@dataclass(frozen=True)
class Negation:
    """Outcome of the negation protocol."""

    rule: Rule
    control_zeroshot: Mapping[str, Count]
    """Counts of the control by split."""
    tasks: Mapping[str, NegatedTask]

    def as_dict(self) -> dict[str, Any]:
        """The ``protocols.negation`` part of ``result.json``, without the inputs."""
        points = [point for task in self.tasks.values() for point in task.curve]
        passes = sum(point.control is not None and point.alpha != 0.0 for point in points)
        return {
            "control": self.rule.control,
            "threshold": float(self.rule.threshold),
            "control_zeroshot": {s: c.as_dict() for s, c in self.control_zeroshot.items()},
            "control_passes": passes,
            "grid_control_passes": len(points),
            "tasks": {name: task.as_dict() for name, task in self.tasks.items()},
            "target_top1": float(mean_top1({name: task.target for name, task in self.tasks.items()})),
            "control_top1": float(mean_top1({name: task.control for name, task in self.tasks.items()})),
        }


def negation(
    scoring: Scoring,
    workers: Workers,
    *,
    bench: Bench,
    rule: Rule,
    vectors: Mapping[str, Weights],
    single: SingleScores,
) -> Negation:
    """Negate every task, each with an α of its own.

    Args:
        scoring: how scores are computed.
        workers: processes; each negates whole tasks.
        bench: heads and pixels of all tasks and the control.
        rule: the α to try and what the control must keep.
        vectors: the reconstructed task vector v̂_t of each task.
        single: the zero-shot model's counts, which are those at α = 0.
    """
    weights = Weights.of(bench.theta0, ENCODER)
    requests = [
        bench.request("control", f"{rule.control} {split}", task=rule.control, split=split, weights=weights)
        for split in ("val", "test")
    ]
    (val,), (test,) = scoring.scores(requests, workers)
    control = {"val": val, "test": test}
    jobs = [
        _Job(
            task,
            {(kind, split): _request(bench, kind, split, vector) for kind, split in _cases(task, rule)},
            {split: single.zeroshot[split][task] for split in control},
            control,
            rule,
        )
        for task, vector in vectors.items()
    ]
    found = scoring.map(_negate, jobs, STAGE, workers)
    return Negation(rule, control, {job.task: result for job, result in zip(jobs, found, strict=True)})


def order_of_trial(alphas: Sequence[float], targets: Sequence[Count]) -> list[int]:
    """Indices from the best choice to the worst: lowest target count first, the smallest α on ties.

    The first feasible one in this order is what the whole grid would give, for any curve.
    """
    return sorted(range(len(alphas)), key=lambda i: (targets[i].correct, alphas[i]))


def keeps(control: Count, zeroshot: Count, threshold: Fraction) -> bool:
    """Whether the control keeps its share, compared exactly."""
    return control.top1 >= threshold * zeroshot.top1


@dataclass(frozen=True)
class _Job:
    task: str
    requests: Mapping[tuple[str, str], Request]
    """Without α, by task and split."""
    zeroshot: Mapping[str, Count]
    control: Mapping[str, Count]
    rule: Rule


def _cases(task: str, rule: Rule) -> list[tuple[str, str]]:
    return [(name, split) for name in (task, rule.control) for split in ("val", "test")]


def _request(bench: Bench, task: str, split: str, vector: Weights) -> Request:
    weights = Weights.of(bench.theta0, ENCODER)
    return bench.request(STAGE, "", task=task, split=split, weights=weights, vector=vector)


def _negate(scorer: Scorer, job: _Job) -> NegatedTask:
    """Score the target at every α, then the control in the order of trial until it keeps its share."""
    alphas, control = sorted({0.0, *job.rule.alphas}), job.rule.control

    def score(task: str, split: str, *at: float) -> list[Count]:
        # α = 0 is the zero-shot model, whose counts are known.
        known = job.control[split] if task == control else job.zeroshot[split]
        tried = tuple(-alpha for alpha in at if alpha != 0.0)
        found = iter(scorer.score(replace(job.requests[task, split], alphas=tried)) if tried else ())
        return [known if alpha == 0.0 else next(found) for alpha in at]

    scorer.report(Progress(STAGE, job.task, 0, 3))
    targets = score(job.task, "val", *alphas)
    scorer.report(Progress(STAGE, job.task, 1, 3))
    tried: dict[int, Count] = {}
    for index in order_of_trial(alphas, targets):
        chosen = alphas[index]
        (tried[index],) = score(control, "val", chosen)
        if keeps(tried[index], job.control["val"], job.rule.threshold):
            break
    scorer.report(Progress(STAGE, job.task, 2, 3))
    points = [
        NegationPoint(a, target, tried.get(i))
        for i, (a, target) in enumerate(zip(alphas, targets, strict=True))
    ]
    (target,), (kept,) = (score(name, "test", chosen) for name in (job.task, control))
    scorer.report(Progress(STAGE, job.task, 3, 3))
    return NegatedTask(chosen, tuple(points), target, kept)
