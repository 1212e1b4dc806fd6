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
from taskbasis.importers.published import PublishedBasis
from taskbasis.merging import MergeMethod, input_coefficients
from taskbasis.models.imported import BASIS, ImportJob, import_basis, import_models
from taskbasis.models.stages import ENCODER, pretrained_and_heads
from taskbasis.parallel import Workers
from taskbasis.store import Artifact
from taskbasis.training.finetuning import FinetuneJob, finetune_all
from taskbasis.vectors import Gram
from taskbasis.vectors.stages import Checkpoints, Sources, StoredVectors


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

    checkpoints: Checkpoints | StoredVectors
    bench: Bench

    @property
    def finetuned(self) -> Mapping[str, Artifact]:
        """The fine-tuned models by task; none where a basis was published without them."""
        return self.checkpoints.finetuned if isinstance(self.checkpoints, Checkpoints) else {}


@dataclass(frozen=True)
class Compressed:
    """A basis and the columns it is made of."""

    sources: Sources
    gram: Gram
    """Gram matrix of the source columns."""
    basis: Basis
    provenance: str | None = None
    """Where a basis that was not fitted here is from."""


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
        basis = self.compressed.basis
        numel, T = self.models.checkpoints.vectors.numel, len(basis.tasks)
        tasks = self._task_gram()
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

    def _task_gram(self) -> Gram:
        """Inner products of the task vectors, or of their reconstructions where there are only atoms."""
        basis, matrix = self.compressed.basis, self.compressed.gram.matrix
        if self.models.finetuned:
            T = len(basis.tasks)
            return Gram(matrix[:T, :T], basis.tasks)
        rebuilt = basis.reconstruction_coefficients()
        return Gram(rebuilt.T @ matrix @ rebuilt, basis.tasks)

    def _input(self, task: str) -> dict[str, Any]:
        model, pixels = self.models.finetuned.get(task), self.models.bench.pixels[task]
        origin = self.compressed.provenance if model is None else model.meta["provenance"]
        return {
            "sha256": None if model is None else model.sha256(ENCODER),
            "provenance": origin,
            "splits": {split: artifact.content for split, artifact in pixels.items()},
            "data": pixels["test"].meta.get("data", {}),
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
        single = single_scores(
            scoring, workers, bench=models.bench, tasks=compressed.basis.tasks, finetuned=models.finetuned
        )
    evaluation = Evaluation(plan, workers, scoring, models.bench, compressed, single)
    protocols: dict[str, Any] = {}
    for name in plan.protocols:
        with clock.stage(name):
            protocols[name] = {"addition": evaluation.addition, "negation": evaluation.negation}[name]()
    reused["finetuned"] = [task for task, model in models.finetuned.items() if model.reused]
    return Outcome(models, compressed, single, protocols, reused)


def set_up(plan: Plan, workers: Workers, clock: Clock) -> Bench:
    """θ₀, heads and evaluation pixels."""
    trained = plan.imported is None and plan.published is None
    controls = [plan.suite.control] if "negation" in plan.protocols else []
    with clock.stage("model and heads"):
        theta0, heads = pretrained_and_heads(plan.store, plan.clip, [*plan.tasks, *controls])
    with clock.stage("data"):
        wanted = [PixelJob(plan.store, plan.suite, task.name, SPLITS, train=trained) for task in plan.tasks]
        wanted += [PixelJob(plan.store, plan.suite, task.name, SPLITS, train=False) for task in controls]
        pixels = prepare_all(wanted, workers)
    return Bench(theta0, heads, pixels)


def obtain_models(plan: Plan, workers: Workers, clock: Clock) -> Models:
    """θ₀, what models are scored with and on, and every task's fine-tuned model or a published basis."""
    bench = set_up(plan, workers, clock)
    if plan.published is not None:
        return Models(obtain_basis(plan, plan.published, bench.theta0, clock), bench)
    finetuned = obtain_finetuned(plan, bench, workers, clock)
    return Models(Checkpoints(bench.theta0, finetuned, ENCODER), bench)


def obtain_finetuned(plan: Plan, bench: Bench, workers: Workers, clock: Clock) -> dict[str, Artifact]:
    """Every task's fine-tuned model: trained here, or made by others."""
    if (source := plan.imported) is not None:
        with clock.stage("importing"):
            names = [task.name for task in plan.tasks]
            wanted = [ImportJob(plan.store, plan.clip, name, bench.theta0, source) for name in names]
            return import_models(wanted, workers)
    with clock.stage("fine-tuning"):
        jobs = [
            FinetuneJob(
                store=plan.store,
                clip=plan.clip,
                suite=plan.suite,
                task=task,
                theta0=bench.theta0,
                head=bench.heads[task.name],
                recipe=plan.recipe,
                seed=plan.finetune_seed,
                compute=plan.compute,
            )
            for task in plan.tasks
        ]
        return finetune_all(jobs, workers)


def obtain_basis(plan: Plan, published: PublishedBasis, theta0: Artifact, clock: Clock) -> StoredVectors:
    """The atoms of a published basis, in place of fine-tuned models."""
    tasks = tuple(task.name for task in plan.tasks)
    with clock.stage("importing"):
        artifact = import_basis(plan.store, theta0, published.find(plan.clip.name, tasks), tasks)
        return StoredVectors(theta0, artifact, BASIS, Basis.load(artifact.path / BASIS).sources)


def compress(
    plan: Plan, checkpoints: Checkpoints | StoredVectors, clock: Clock
) -> tuple[Compressed, dict[str, Any]]:
    """The Gram matrix, in one pass over the weights, and the basis fitted to it (or published over it)."""
    if isinstance(checkpoints, StoredVectors):
        return _as_published(plan, checkpoints, clock)
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


def _as_published(plan: Plan, atoms: StoredVectors, clock: Clock) -> tuple[Compressed, dict[str, Any]]:
    with clock.stage("Gram matrix"):
        sources = Sources(atoms, atoms.vectors)
        gram, artifact = sources.gram(plan.store, plan.compute.threads)
    basis = Basis.load(atoms.stored.path / atoms.folder)
    compressed = Compressed(sources, gram, basis, atoms.stored.meta["provenance"])
    return compressed, {"gram": artifact.reused, "basis": atoms.stored.reused}


def merged_coefficients(merge: MergeMethod, basis: Basis) -> Tensor:
    """The merged vector over the source columns of a basis: float64 of shape (K,)."""
    inputs = input_coefficients(basis, merge.inputs)
    return inputs @ merge.weights(inputs.shape[1])


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
        coefficients = merged_coefficients(merge, self.compressed.basis)
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
