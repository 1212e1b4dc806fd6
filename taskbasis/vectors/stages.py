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


@dataclass(frozen=True)
class GramKey(StageKey):
    """Key of the Gram matrix of source columns."""

    STAGE: ClassVar[str] = "gram"
    VERSION: ClassVar[int] = 2
    base: str
    finetuned: tuple[tuple[str, str], ...]
    """Task name and content of θ_t, in order."""
    sources: tuple[str, ...]
    """Names of all columns; those of noise say the seed and the number."""


@dataclass(frozen=True)
class CombinedKey(StageKey):
    """Key of linear combinations of source columns."""

    STAGE: ClassVar[str] = "vectors"
    VERSION: ClassVar[int] = 2
    base: str
    finetuned: tuple[tuple[str, str], ...]
    sources: tuple[str, ...]
    names: tuple[str, ...]
    coefficients: tuple[tuple[str, ...], ...]
    """Hexadecimal floats, a row per source."""


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


@dataclass(frozen=True)
class StoredVectors:
    """Vectors that lie in the store as they are, such as the atoms of a published basis, and their θ₀."""

    theta0: Artifact
    stored: Artifact
    folder: str
    """The folder in the artifact that holds them."""
    names: tuple[str, ...]
    """Names of the vectors, in order; ``<name>.safetensors`` are their files."""

    @property
    def vectors(self) -> VectorSet:
        """The vectors."""
        return VectorSet.stored({name: self.stored.file(self._file(name)) for name in self.names})

    @property
    def contents(self) -> tuple[tuple[str, str], ...]:
        """Names and content hashes, in order."""
        return tuple((name, self.stored.sha256(self._file(name))) for name in self.names)

    def _file(self, name: str) -> str:
        return f"{self.folder}/{name}.safetensors"


@dataclass(frozen=True)
class Sources:
    """The columns that a basis is made of: the task vectors, and noise for some methods."""

    checkpoints: Checkpoints | StoredVectors
    vectors: VectorSet

    def gram(self, store: Store, threads: int) -> tuple[Gram, Artifact]:
        """Their Gram matrix, streamed unless it is stored."""
        points = self.checkpoints
        key = GramKey(points.theta0.content, points.contents, self.vectors.names)
        artifact = store.make(key, lambda folder: self.vectors.gram(threads=threads).save(folder / GRAM))
        return Gram.load(artifact.file(GRAM)), artifact

    def combined(
        self, store: Store, coefficients: Tensor, names: tuple[str, ...], threads: int
    ) -> tuple[dict[str, str], Artifact]:
        """X·C written as one file per column unless it is stored; the file names by column.

        Args:
            store: where.
            coefficients: C of shape (K, N) over the K source columns.
            names: names of the N results.
            threads: how many compute it; the result does not depend on them.
        """
        points = self.checkpoints
        key = CombinedKey(
            base=points.theta0.content,
            finetuned=points.contents,
            sources=self.vectors.names,
            names=names,
            coefficients=tuple(tuple(value.hex() for value in row) for row in coefficients.tolist()),
        )

        def build(folder: Path) -> None:
            self.vectors.combine(coefficients, names).save(folder, threads=threads)

        return {name: f"{name}.safetensors" for name in names}, store.make(key, build)
