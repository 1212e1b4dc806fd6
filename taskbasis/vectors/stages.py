"""Stored results of this room: the Gram matrix and combined vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from taskbasis.store import Artifact, StageKey, Store
from taskbasis.vectors.gram import Gram
from taskbasis.vectors.vectorset import VectorSet

GRAM = "gram.safetensors"
VECTOR = "vector.safetensors"


@dataclass(frozen=True)
class GramKey(StageKey):
    """Key of the Gram matrix of task vectors."""

    STAGE: ClassVar[str] = "gram"
    VERSION: ClassVar[int] = 2
    base: str
    finetuned: tuple[tuple[str, str], ...]
    """Task name and content of θ_t, in order."""


@dataclass(frozen=True)
class CombinedKey(StageKey):
    """Key of a linear combination of task vectors."""

    STAGE: ClassVar[str] = "vector"
    VERSION: ClassVar[int] = 2
    base: str
    finetuned: tuple[tuple[str, str], ...]
    coefficients: tuple[str, ...]
    """Hexadecimal floats, one per task vector."""


@dataclass(frozen=True)
class Checkpoints:
    """θ₀ and the θ_t of a run in the store."""

    theta0: Artifact
    finetuned: Mapping[str, Artifact]
    file: str
    """Name of the weights' file in each artifact."""

    @property
    def vectors(self) -> VectorSet:
        """Their task vectors."""
        files = {name: artifact.file(self.file) for name, artifact in self.finetuned.items()}
        return VectorSet.task_vectors(self.theta0.file(self.file), files)

    @property
    def contents(self) -> tuple[tuple[str, str], ...]:
        """Task names and content hashes, in order."""
        return tuple((name, artifact.content) for name, artifact in self.finetuned.items())


def gram(store: Store, checkpoints: Checkpoints, threads: int) -> tuple[Gram, Artifact]:
    """The Gram matrix of the task vectors, streamed unless it is stored."""
    key = GramKey(checkpoints.theta0.content, checkpoints.contents)
    artifact = store.make(key, lambda folder: checkpoints.vectors.gram(threads=threads).save(folder / GRAM))
    return Gram.load(artifact.file(GRAM)), artifact


def combined(store: Store, checkpoints: Checkpoints, coefficients: Tensor, threads: int) -> Artifact:
    """V·c for ``coefficients`` of shape (T,), written as ``vector.safetensors`` unless it is stored."""
    exact = tuple(value.hex() for value in coefficients.tolist())
    key = CombinedKey(checkpoints.theta0.content, checkpoints.contents, exact)

    def build(folder: Path) -> None:
        checkpoints.vectors.combine(coefficients, ["vector"]).save(folder, threads=threads)

    return store.make(key, build)
