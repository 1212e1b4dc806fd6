"""The stages of a run, top to bottom: each a call with plain arguments and a stored result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from taskbasis.basis import Basis, NeedsSources
from taskbasis.basis.stages import fit
from taskbasis.builders import Plan
from taskbasis.data.preparation import PixelJob, prepare_all
from taskbasis.evaluation.addition import addition
from taskbasis.evaluation.negation import Rule, negation
from taskbasis.evaluation.scoring import Bench, Scoring, Weights
from taskbasis.evaluation.single import SPLITS, SingleScores, single_scores
from taskbasis.merging import input_coefficients
from taskbasis.models.stages import ENCODER, pretrained_and_heads
from taskbasis.parallel import Workers
from taskbasis.training.finetuning import FinetuneJob, finetune_all
from taskbasis.vectors import Gram
from taskbasis.vectors.stages import Checkpoints, Sources


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
class Compressed:
    """A basis and the columns it is made of."""

    sources: Sources
    gram: Gram
    """Gram matrix of the source columns."""
    basis: Basis


@dataclass(frozen=True)
class Outcome:
    """Everything that a run found."""

    models: Models
    compressed: Compressed
    single: SingleScores
    protocols: Mapping[str, Any]
    """Results by protocol, as plain values."""
    reused: Mapping[str, Any]
    """What was in the store already."""

    def result(self) -> dict[str, Any]:
        """The parts of ``result.json`` that two identical runs have in common."""
        basis, gram = self.compressed.basis, self.compressed.gram
        numel, T = self.models.checkpoints.vectors.numel, len(basis.tasks)
        tasks = Gram(gram.matrix[:T, :T], basis.tasks)
        return {
            "tasks": list(basis.tasks),
            "inputs": {task: self._input(task) for task in basis.tasks},
            "gram": {
                "matrix": tasks.matrix.tolist(),
                "cosines": tasks.cosines.tolist(),
                "spectrum": tasks.spectrum.tolist(),
            },
            "basis": basis.describe()
            | {"stored_bytes": basis.stored_bytes(numel), "full_bytes": T * numel * 4},
            "single": self.single.as_dict(),
            "protocols": dict(self.protocols),
        }

    def _input(self, task: str) -> dict[str, Any]:
        model = self.models.checkpoints.finetuned[task]
        return {
            "sha256": model.sha256(ENCODER),
            "provenance": model.meta["provenance"],
            "splits": {split: artifact.content for split, artifact in self.models.bench.pixels[task].items()},
        }


def run_pipeline(plan: Plan, workers: Workers, clock: Clock) -> Outcome:
    """Fine-tune, stream the Gram matrix, fit the basis, and evaluate the protocols.

    Raises:
        TaskbasisError: from whichever stage cannot go on; earlier stages stay stored.
    """
    models = obtain_models(plan, workers, clock)
    compressed, reused = compress(plan, models.checkpoints, clock)
    scoring = Scoring(plan.store, plan.clip, plan.batch_size, plan.compute)
    with clock.stage("single-task scores"):
        single = single_scores(scoring, workers, bench=models.bench, finetuned=models.checkpoints.finetuned)
    evaluation = Evaluation(plan, workers, scoring, models.bench, compressed, single)
    protocols: dict[str, Any] = {}
    for name in plan.protocols:
        with clock.stage(name):
            protocols[name] = {"addition": evaluation.addition, "negation": evaluation.negation}[name]()
    tuned = models.checkpoints.finetuned.items()
    reused["finetuned"] = [task for task, model in tuned if model.reused]
    return Outcome(models, compressed, single, protocols, reused)


def obtain_models(plan: Plan, workers: Workers, clock: Clock) -> Models:
    """θ₀, heads, pixels, and every task's fine-tuned model."""
    controls = [plan.suite.control] if "negation" in plan.protocols else []
    with clock.stage("model and heads"):
        theta0, heads = pretrained_and_heads(plan.store, plan.clip, [*plan.tasks, *controls])
    with clock.stage("data"):
        wanted = [PixelJob(plan.store, plan.suite, task.name, SPLITS, train=True) for task in plan.tasks]
        wanted += [PixelJob(plan.store, plan.suite, task.name, SPLITS, train=False) for task in controls]
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


def compress(plan: Plan, checkpoints: Checkpoints, clock: Clock) -> tuple[Compressed, dict[str, Any]]:
    """The Gram matrix, in one pass over the weights, and the basis fitted to it."""
    with clock.stage("Gram matrix"):
        vectors = checkpoints.vectors
        if isinstance(plan.basis, NeedsSources):
            vectors = plan.basis.sources(vectors)
        sources = Sources(checkpoints, vectors)
        gram, gram_artifact = sources.gram(plan.store, plan.compute.threads)
    with clock.stage("basis"):
        basis, basis_artifact = fit(plan.store, plan.basis, gram, plan.compute.threads)
        if isinstance(plan.basis, NeedsSources) and gram_artifact.reused:
            plan.basis.verify(basis, vectors)
    reused = {"gram": gram_artifact.reused, "basis": basis_artifact.reused}
    return Compressed(sources, gram, basis), reused


@dataclass(frozen=True)
class Evaluation:
    """What the protocols are evaluated with."""

    plan: Plan
    workers: Workers
    scoring: Scoring
    bench: Bench
    compressed: Compressed
    single: SingleScores

    def addition(self) -> dict[str, Any]:
        """Merge the inputs into one vector and score θ₀ + α·v on all tasks."""
        merge, gram = self.plan.merge, self.compressed.gram
        inputs = input_coefficients(self.compressed.basis, merge.inputs)
        coefficients: Tensor = inputs @ merge.weights(inputs.shape[1])
        outcome = addition(
            self.scoring,
            self.workers,
            bench=self.bench,
            alphas=self.plan.alphas,
            vector=self._vectors(coefficients[:, None], ("merged",))["merged"],
            merged_norm=max(float(coefficients @ gram.matrix @ coefficients), 0.0) ** 0.5,
            single=self.single,
        )
        params = {k: v for k, v in asdict(merge).items() if k != "inputs"}  # type: ignore[call-overload]
        described = {"method": type(merge).__name__.lower(), "inputs": merge.inputs, "params": params}
        return {"merge": described, **outcome.as_dict()}

    def negation(self) -> dict[str, Any]:
        """Reconstruct every task vector and score θ₀ − α·v̂_t on its task and the control."""
        basis = self.compressed.basis
        outcome = negation(
            self.scoring,
            self.workers,
            bench=self.bench,
            rule=Rule(self.plan.alphas, self.plan.suite.control.name, self.plan.control_threshold),
            vectors=self._vectors(basis.reconstruction_coefficients(), basis.tasks),
            single=self.single,
        )
        return outcome.as_dict()

    def _vectors(self, coefficients: Tensor, names: tuple[str, ...]) -> dict[str, Weights]:
        """Combinations of the sources, written in one pass over the weights."""
        sources, plan = self.compressed.sources, self.plan
        files, artifact = sources.combined(plan.store, coefficients, names, plan.compute.threads)
        return {name: Weights.of(artifact, file) for name, file in files.items()}
