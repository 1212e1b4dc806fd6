"""The addition protocol: one merged model for all tasks, α chosen on validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from taskbasis.evaluation.counts import Count, Counts, mean_normalized_top1, mean_top1
from taskbasis.evaluation.scoring import Bench, Request, Scoring, Weights
from taskbasis.evaluation.search import best_alpha
from taskbasis.evaluation.single import SingleScores
from taskbasis.models.stages import ENCODER
from taskbasis.parallel import Workers

SEARCH, TEST = "α search", "test"


@dataclass(frozen=True)
class AlphaPoint:
    """Validation counts at one α."""

    alpha: float
    tasks: Counts

    def as_dict(self) -> dict[str, Any]:
        """The form stored in results."""
        return {"alpha": self.alpha, "tasks": {t: c.as_dict() for t, c in self.tasks.items()}}


@dataclass(frozen=True)
class Addition:
    """Outcome of the addition protocol."""

    curve: tuple[AlphaPoint, ...]
    alpha: float
    test: Counts
    finetuned: Mapping[str, Counts]
    merged_norm: float
    forward_images: int

    def as_dict(self) -> dict[str, Any]:
        """The ``protocols.addition`` part of ``result.json``, without the merge."""
        alphas = [point.alpha for point in self.curve]
        images = sum(count.n for count in self.curve[0].tasks.values())
        (chosen,) = (point for point in self.curve if point.alpha == self.alpha)
        return {
            "search": {
                "kind": "grid",
                "alphas": alphas,
                "alpha": self.alpha,
                "normalized_top1": _as_float(mean_normalized_top1(chosen.tasks, self.finetuned["val"])),
                "at_boundary": self.alpha in (alphas[0], alphas[-1]) and len(alphas) > 1,
                "merged_norm": self.merged_norm,
                "forward_images": self.forward_images,
                "grid_images": images * len(alphas),
                "curve": [point.as_dict() for point in self.curve],
            },
            "test": {task: count.as_dict() for task, count in self.test.items()},
            "top1": float(mean_top1(self.test)),
            "normalized_top1": _as_float(mean_normalized_top1(self.test, self.finetuned["test"])),
        }


def addition(
    scoring: Scoring,
    workers: Workers,
    *,
    bench: Bench,
    alphas: Sequence[float],
    vector: Weights,
    merged_norm: float,
    single: SingleScores,
) -> Addition:
    """Score θ₀ + α·v on validation data for every α, choose, and test the choice.

    α is the one with the highest mean normalised accuracy, compared exactly; ties keep the smallest.
    At α = 0 the merged model is the zero-shot model, whose counts are known.
    """
    tasks = list(single.zeroshot["val"])
    weights = Weights.of(bench.theta0, ENCODER)

    def request(stage: str, task: str, split: str, at: tuple[float, ...]) -> Request:
        return bench.request(stage, task, task=task, split=split, weights=weights, vector=vector, alphas=at)

    searched = tuple(alpha for alpha in alphas if alpha != 0.0)
    known = {(0.0, task): count for task, count in single.zeroshot["val"].items()}
    if searched:
        found = scoring.scores([request(SEARCH, task, "val", searched) for task in tasks], workers)
        for task, row in zip(tasks, found, strict=True):
            known |= {(alpha, task): count for alpha, count in zip(searched, row, strict=True)}
    curve = tuple(AlphaPoint(alpha, {task: known[alpha, task] for task in tasks}) for alpha in alphas)
    alpha = choose(curve, single.finetuned["val"])
    test: dict[str, Count] = dict(single.zeroshot["test"])
    if alpha != 0.0:
        scored = scoring.scores([request(TEST, task, "test", (alpha,)) for task in tasks], workers)
        test = {task: count for task, (count,) in zip(tasks, scored, strict=True)}
    images = sum(count.n for count in single.zeroshot["val"].values())
    return Addition(curve, alpha, test, single.finetuned, merged_norm, images * len(searched))


def choose(curve: Sequence[AlphaPoint], finetuned: Counts) -> float:
    """The α with the highest mean normalised validation accuracy; ties keep the smallest α."""
    scores, alphas = [], []
    for point in curve:
        score = mean_normalized_top1(point.tasks, finetuned)
        scores.append(mean_top1(point.tasks) if score is None else score)
        alphas.append(point.alpha)
    return alphas[best_alpha(alphas, scores)]


def _as_float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
