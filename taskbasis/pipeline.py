"""The stages of a run, top to bottom: each a call with plain arguments and a stored result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from taskbasis.basis import Basis
from taskbasis.basis.stages import fit
from taskbasis.builders import Plan
from taskbasis.data.preparation import PixelJob, prepare_all
from taskbasis.evaluation.addition import Addition, addition
from taskbasis.evaluation.scoring import Scoring, Weights
from taskbasis.evaluation.single import SPLITS, SingleScores, single_scores
from taskbasis.merging import input_coefficients
from taskbasis.models.stages import ENCODER, pretrained_and_heads
from taskbasis.parallel import Workers
from taskbasis.store import Artifact
from taskbasis.training.finetuning import FinetuneJob, finetune_all
from taskbasis.vectors import Gram
from taskbasis.vectors.stages import VECTOR, Checkpoints, combined, gram


@dataclass
class Clock:
    """Seconds spent in each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 3)


@dataclass(frozen=True)
class Outcome:
    """Everything that a run found."""

    tasks: tuple[str, ...]
    checkpoints: Checkpoints
    pixels: dict[str, dict[str, Artifact]]
    gram: Gram
    basis: Basis
    numel: int
    """D, the number of elements of a task vector."""
    single: SingleScores
    addition: Addition
    merge: dict[str, Any]
    reused: dict[str, Any]

    def result(self) -> dict[str, Any]:
        """The parts of ``result.json`` that two identical runs have in common."""
        return {
            "tasks": list(self.tasks),
            "inputs": {task: self._input(task) for task in self.tasks},
            "gram": {"matrix": self.gram.matrix.tolist(), "cosines": self.gram.cosines.tolist()},
            "basis": self.basis.describe()
            | {
                "stored_bytes": self.basis.stored_bytes(self.numel),
                "full_bytes": len(self.tasks) * self.numel * 4,
            },
            "single": self.single.as_dict(),
            "protocols": {"addition": {"merge": self.merge, **self.addition.as_dict()}},
        }

    def _input(self, task: str) -> dict[str, Any]:
        model = self.checkpoints.finetuned[task]
        return {
            "sha256": model.sha256(ENCODER),
            "provenance": model.meta["provenance"],
            "splits": {split: artifact.content for split, artifact in self.pixels[task].items()},
        }


def run_pipeline(plan: Plan, workers: Workers, clock: Clock) -> Outcome:
    """Fine-tune, stream the Gram matrix, fit the basis, merge, search α, test.

    Raises:
        TaskbasisError: from whichever stage cannot go on; earlier stages stay stored.
    """
    names = tuple(task.name for task in plan.tasks)
    with clock.stage("model and heads"):
        theta0, heads = pretrained_and_heads(plan.store, plan.clip, plan.tasks)
    with clock.stage("data"):
        wanted = [PixelJob(plan.store, plan.suite, name, SPLITS, train=True) for name in names]
        pixels = prepare_all(wanted, workers)
    with clock.stage("fine-tuning"):
        finetuned = finetune_all(
            [
                FinetuneJob(
                    plan.store,
                    plan.clip,
                    plan.suite,
                    task,
                    theta0,
                    heads[task.name],
                    plan.recipe,
                    plan.finetune_seed,
                    plan.compute,
                )
                for task in plan.tasks
            ],
            workers,
        )
    checkpoints = Checkpoints(theta0, finetuned, ENCODER)
    with clock.stage("Gram matrix"):
        G, gram_artifact = gram(plan.store, checkpoints, plan.compute.threads)
    with clock.stage("basis"):
        basis, basis_artifact = fit(plan.store, plan.basis, G, plan.compute.threads)
    with clock.stage("merge"):
        inputs = input_coefficients(basis, plan.merge.inputs)
        coefficients = inputs @ plan.merge.weights(inputs.shape[1])
        vector = combined(plan.store, checkpoints, coefficients, plan.compute.threads)
    scoring = Scoring(plan.store, plan.clip, plan.batch_size, plan.compute)
    with clock.stage("single-task scores"):
        single = single_scores(
            scoring, workers, theta0=theta0, finetuned=finetuned, heads=heads, pixels=pixels
        )
    with clock.stage("addition"):
        outcome = addition(
            scoring,
            workers,
            alphas=plan.alphas,
            theta0=theta0,
            vector=Weights.of(vector, VECTOR),
            merged_norm=float(coefficients @ G.matrix @ coefficients) ** 0.5,
            heads=heads,
            pixels=pixels,
            single=single,
        )
    return Outcome(
        tasks=names,
        checkpoints=checkpoints,
        pixels=pixels,
        gram=G,
        basis=basis,
        numel=checkpoints.vectors.numel,
        single=single,
        addition=outcome,
        merge={"method": type(plan.merge).__name__.lower(), "inputs": plan.merge.inputs, "params": {}},
        reused={
            "finetuned": [name for name, artifact in finetuned.items() if artifact.reused],
            "gram": gram_artifact.reused,
            "basis": basis_artifact.reused,
            "merged": vector.reused,
        },
    )
