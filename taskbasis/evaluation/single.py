"""Single-task scores: the zero-shot model and each fine-tuned model on their own tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskbasis.evaluation.counts import Count, Counts
from taskbasis.evaluation.scoring import Bench, Scoring, Weights
from taskbasis.models.stages import ENCODER
from taskbasis.parallel import Workers
from taskbasis.store import Artifact

STAGE = "single-task scores"
SPLITS = ("val", "test")


@dataclass(frozen=True)
class SingleScores:
    """Counts by split and task."""

    zeroshot: Mapping[str, Counts]
    finetuned: Mapping[str, Counts]

    def as_dict(self) -> dict[str, Any]:
        """The ``single`` part of ``result.json``."""
        return {name: _by_task(getattr(self, name)) for name in ("zeroshot", "finetuned")}


def single_scores(
    scoring: Scoring,
    workers: Workers,
    *,
    bench: Bench,
    tasks: Sequence[str],
    finetuned: Mapping[str, Artifact],
) -> SingleScores:
    """Score θ₀ and, where there are any, the θ_t on validation and test data of every task t."""
    models = {"zeroshot": dict.fromkeys(tasks, bench.theta0), "finetuned": finetuned}
    cases = [
        (kind, split, task, weights)
        for kind, by_task in models.items()
        for split in SPLITS
        for task, weights in by_task.items()
    ]
    requests = [
        bench.request(
            STAGE, f"{task} {kind} {split}", task=task, split=split, weights=Weights.of(weights, ENCODER)
        )
        for kind, split, task, weights in cases
    ]
    found: dict[tuple[str, str], dict[str, Count]] = {}
    for (kind, split, task, _), (count,) in zip(cases, scoring.scores(requests, workers), strict=True):
        found.setdefault((kind, split), {})[task] = count
    return SingleScores(*({s: found.get((kind, s), {}) for s in SPLITS} for kind in models))


def _by_task(scores: Mapping[str, Counts]) -> dict[str, dict[str, dict[str, int]]]:
    return {task: {s: scores[s][task].as_dict() for s in SPLITS} for task in scores[SPLITS[0]]}
