"""The stages of a run, top to bottom: each a call with plain arguments and a stored result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from taskbasis.basis import Basis
from taskbasis.basis.stages import fit
from taskbasis.builders import Plan
from taskbasis.data.preparation import PixelJob, prepare_all
from taskbasis.evaluation.addition import Addition, addition
from taskbasis.evaluation.scoring import Bench, Scoring, Weights
from taskbasis.evaluation.single import SPLITS, SingleScores, single_scores
from taskbasis.merging import input_coefficients
from taskbasis.models.stages import ENCODER, pretrained_and_heads
from taskbasis.parallel import Workers
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
class Models:
    """What every protocol needs: θ₀ and the θ_t, and what they are scored with and on."""

    checkpoints: Checkpoints
    bench: Bench


@dataclass(frozen=True)
class Merged:
    """A basis and the vector that its inputs were merged into."""

    gram: Gram
    basis: Basis
    vector: Weights
    norm: float
    """Euclidean norm of the merged vector."""
    reused: dict[str, bool]


@dataclass(frozen=True)
class Outcome:
    """Everything that a run found."""

    models: Models
    merged: Merged
    merge: Mapping[str, Any]
    """How the inputs were merged, as plain values."""
    single: SingleScores
    addition: Addition

    def result(self) -> dict[str, Any]:
        """The parts of ``result.json`` that two identical runs have in common."""
        basis, tasks = self.merged.basis, list(self.models.checkpoints.finetuned)
        numel = self.models.checkpoints.vectors.numel
        sizes = {"stored_bytes": basis.stored_bytes(numel), "full_bytes": len(tasks) * numel * 4}
        cosines = self.merged.gram.cosines.tolist()
        return {
            "tasks": tasks,
            "inputs": {task: self._input(task) for task in tasks},
            "gram": {"matrix": self.merged.gram.matrix.tolist(), "cosines": cosines},
            "basis": basis.describe() | sizes,
            "single": self.single.as_dict(),
            "protocols": {"addition": {"merge": dict(self.merge), **self.addition.as_dict()}},
        }

    @property
    def reused(self) -> dict[str, Any]:
        """What was in the store already."""
        models = self.models.checkpoints.finetuned.items()
        return {"finetuned": [task for task, model in models if model.reused], **self.merged.reused}

    def _input(self, task: str) -> dict[str, Any]:
        model = self.models.checkpoints.finetuned[task]
        return {
            "sha256": model.sha256(ENCODER),
            "provenance": model.meta["provenance"],
            "splits": {split: artifact.content for split, artifact in self.models.bench.pixels[task].items()},
        }


def run_pipeline(plan: Plan, workers: Workers, clock: Clock) -> Outcome:
    """Fine-tune, stream the Gram matrix, fit the basis, merge, search α, test.

    Raises:
        TaskbasisError: from whichever stage cannot go on; earlier stages stay stored.
    """
    models = obtain_models(plan, workers, clock)
    merged = compress_and_merge(plan, models.checkpoints, clock)
    scoring = Scoring(plan.store, plan.clip, plan.batch_size, plan.compute)
    with clock.stage("single-task scores"):
        single = single_scores(scoring, workers, bench=models.bench, finetuned=models.checkpoints.finetuned)
    with clock.stage("addition"):
        added = addition(
            scoring,
            workers,
            bench=models.bench,
            alphas=plan.alphas,
            vector=merged.vector,
            merged_norm=merged.norm,
            single=single,
        )
    method = type(plan.merge).__name__.lower()
    return Outcome(
        models, merged, {"method": method, "inputs": plan.merge.inputs, "params": {}}, single, added
    )


def obtain_models(plan: Plan, workers: Workers, clock: Clock) -> Models:
    """θ₀, heads, pixels, and every task's fine-tuned model."""
    with clock.stage("model and heads"):
        theta0, heads = pretrained_and_heads(plan.store, plan.clip, plan.tasks)
    with clock.stage("data"):
        wanted = [PixelJob(plan.store, plan.suite, name, SPLITS, train=True) for name in heads]
        pixels = prepare_all(wanted, workers)
    with clock.stage("fine-tuning"):
        jobs = [
            FinetuneJob(
                store=plan.store,
                clip=plan.clip,
                suite=plan.suite,
                task=task,
                theta0=theta0,
                head=heads[task.name],
                recipe=plan.recipe,
                seed=plan.finetune_seed,
                compute=plan.compute,
            )
            for task in plan.tasks
        ]
        finetuned = finetune_all(jobs, workers)
    return Models(Checkpoints(theta0, finetuned, ENCODER), Bench(theta0, heads, pixels))


def compress_and_merge(plan: Plan, checkpoints: Checkpoints, clock: Clock) -> Merged:
    """The Gram matrix, the basis fitted to it, and the merged vector: two passes over the weights."""
    threads = plan.compute.threads
    with clock.stage("Gram matrix"):
        G, gram_artifact = gram(plan.store, checkpoints, threads)
    with clock.stage("basis"):
        basis, basis_artifact = fit(plan.store, plan.basis, G, threads)
    with clock.stage("merge"):
        inputs = input_coefficients(basis, plan.merge.inputs)
        coefficients: Tensor = inputs @ plan.merge.weights(inputs.shape[1])
        vector = combined(plan.store, checkpoints, coefficients, threads)
    reused = {"gram": gram_artifact.reused, "basis": basis_artifact.reused, "merged": vector.reused}
    norm = float(coefficients @ G.matrix @ coefficients) ** 0.5
    return Merged(G, basis, Weights.of(vector, VECTOR), norm, reused)
