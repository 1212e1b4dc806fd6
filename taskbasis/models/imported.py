"""Stored results of this room: fine-tuned image encoders and bases that others made."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from taskbasis.basis import Basis
from taskbasis.errors import ImporterError
from taskbasis.importers import (
    Checkpoint,
    check_layout,
    filled,
    import_checkpoint,
    import_run,
    selected,
    shapes,
)
from taskbasis.importers.published import Found, ModelSource
from taskbasis.models.clip import PREFIX, ClipModel
from taskbasis.models.stages import ENCODER
from taskbasis.parallel import Begin, Progress, Report, Workers
from taskbasis.store import Artifact, StageKey, Store, digest, file_sha256
from taskbasis.vectors.files import find_weights
from taskbasis.vectors.layout import Selection

_log = logging.getLogger(__name__)
STAGE, BASIS = "importing", "basis"
_UNTUNED = f"{PREFIX}proj"
"""The projection, which published vision towers of transformers lack because it was not fine-tuned."""


@dataclass(frozen=True)
class ImportedKey(StageKey):
    """Key of an image encoder that somebody else fine-tuned."""

    STAGE: ClassVar[str] = "imported"
    VERSION: ClassVar[int] = 1
    task: str
    source: str
    """sha256 of the file."""
    pretrained: str
    """Content of θ₀."""


@dataclass(frozen=True)
class ImportedBasisKey(StageKey):
    """Key of a basis that somebody else made."""

    STAGE: ClassVar[str] = "imported-basis"
    VERSION: ClassVar[int] = 1
    files: str
    """Hash of all files of its folder."""
    pretrained: str
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class ImportJob:
    """One fine-tuned model to find, check and keep."""

    store: Store
    clip: ClipModel
    task: str
    theta0: Artifact
    source: ModelSource


def import_model(job: ImportJob, report: Report) -> Artifact:
    """A published fine-tuned image encoder (file ``encoder.safetensors``), imported unless it is stored.

    Raises:
        ImporterError: if it cannot be found or read, is of another architecture or activation, or has a
            value that is not finite.
    """
    found = job.source.find(job.clip.name, job.task)
    if found.warning:
        _log.warning("%s: %s", job.task, found.warning)
    file = found.path if found.path.is_file() else find_weights(found.path)
    key = ImportedKey(job.task, file_sha256(file, job.store.memo), job.theta0.content)

    def build(folder: Path) -> dict[str, Any]:
        checkpoint = _image_encoder(job, found)
        weights = {name: tensor.float().contiguous() for name, tensor in checkpoint.tensors.items()}
        _check_finite(found.path, weights)
        save_file(weights, folder / ENCODER)
        return {
            "task": job.task,
            "provenance": found.provenance,
            "warning": found.warning,
            "quick_gelu": job.clip.quick_gelu,
            "activation": "recorded" if "quick_gelu" in checkpoint.facts else "not recorded in the file",
        }

    artifact = job.store.make(key, build)
    report(Progress(STAGE, job.task, 1, 1))
    return artifact


def import_models(jobs: list[ImportJob], workers: Workers) -> dict[str, Artifact]:
    """The artifacts by task name, in the order of the jobs."""
    workers.report(Begin(STAGE, len(jobs)))
    found = workers.map(import_model, jobs)
    return {job.task: artifact for job, artifact in zip(jobs, found, strict=True)}


def import_basis(store: Store, theta0: Artifact, found: Found, tasks: tuple[str, ...]) -> Artifact:
    """A published basis over its own atoms, as a saved basis in the folder ``basis`` of the artifact.

    Sources of the basis are the atoms, and the vector of its offset where there is one, instead of task
    vectors that nobody has: B is the unit matrix.

    Raises:
        ImporterError: if it is of other tasks or another architecture, or cannot be read.
    """
    files = {
        path.name: file_sha256(path, store.memo) for path in sorted(found.path.iterdir()) if path.is_file()
    }

    def build(folder: Path) -> dict[str, Any]:
        run = import_run(found.path, Selection.parse(PREFIX))
        if set(run.basis.tasks) != set(tasks):
            raise ImporterError(
                f"{found.path.name} is a basis of {', '.join(run.basis.tasks)}; "
                f"the run has {', '.join(tasks)}"
            )
        check_layout(found.path, run.vectors.layout, shapes(load_file(theta0.file(ENCODER))))
        _over_atoms(run.basis, tasks).save(folder / BASIS, run.vectors)
        return {"provenance": found.provenance}

    return store.make(ImportedBasisKey(digest(files), theta0.content, tasks), build)


def _over_atoms(basis: Basis, tasks: tuple[str, ...]) -> Basis:
    """The basis with its atoms as sources and its tasks in the order that is wanted."""
    M, names = basis.M, basis.vector_names
    offset = None if basis.offset is None else torch.eye(M + 1, dtype=torch.float64)[M]
    order = [basis.tasks.index(task) for task in tasks]
    encoder = torch.eye(len(names), M, dtype=torch.float64)
    return Basis(
        method=basis.method,
        parameters=basis.parameters,
        encoder=encoder,
        decoder=basis.decoder[:, order],
        offset=offset,
        sources=names,
        tasks=tasks,
        diagnostics=replace(basis.diagnostics, row_sums=tuple(encoder.sum(dim=1).tolist())),
    )


def _image_encoder(job: ImportJob, found: Found) -> Checkpoint:
    """The visual tower of a checkpoint, complete and of the architecture of θ₀."""
    checkpoint = selected(import_checkpoint(found.path), Selection.parse(PREFIX))
    checkpoint.check_activation(found.path, job.clip.name, job.clip.quick_gelu)
    theta0 = load_file(job.theta0.file(ENCODER))
    if (
        _UNTUNED in theta0
        and _UNTUNED not in checkpoint.tensors
        and "transformers" in checkpoint.facts.get("class", "")
    ):
        checkpoint = filled(checkpoint, {_UNTUNED: theta0[_UNTUNED]})
    check_layout(found.path, shapes(checkpoint.tensors), shapes(theta0))
    return checkpoint


def _check_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ImporterError(f"{path}: {name} has a value that is not finite; the file is damaged")
