"""What can be merged: the inputs that a basis or a set of checkpoints offers, over vectors on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taskbasis.basis import Basis, RandomOrthonormal
from taskbasis.basis.storage import atom_names
from taskbasis.checkpoints import content_hashes
from taskbasis.errors import BasisError, ConfigError
from taskbasis.merging import INPUTS
from taskbasis.store.hashing import hash_files
from taskbasis.vectors import Gram, VectorSet
from taskbasis.vectors.files import TensorFile
from taskbasis.vectors.layout import Selection, common_layout
from taskbasis.vectors.vectorset import BASIS_DESCRIPTION


@dataclass(frozen=True)
class Ingredients:
    """N named inputs as linear combinations of K stored vectors, and the model they are added to."""

    base: Path
    """θ₀."""
    kind: str
    """What the inputs are, for people."""
    names: tuple[str, ...]
    """Names of the N inputs."""
    vectors: VectorSet
    coefficients: Tensor
    """float64 of shape (K, N)."""
    gram: Tensor | None = None
    """Inner products of the inputs, float64 of shape (N, N), where they are known."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        opened = (TensorFile(self.base), *self.vectors.columns.files)
        return tuple(path for file in opened for path in file.files)

    def merged(self, weights: Mapping[str, float]) -> VectorSet:
        """Σ weight · input, one vector."""
        return self.vectors.combine(self.coefficients @ self._weights(weights), ["merged"])

    def norm(self, weights: Mapping[str, float]) -> float | None:
        """Euclidean norm of :meth:`merged`, if the inner products are known."""
        if self.gram is None:
            return None
        w = self._weights(weights)
        return math.sqrt(max(float(w @ self.gram @ w), 0.0))

    def _weights(self, weights: Mapping[str, float]) -> Tensor:
        return torch.tensor([weights.get(name, 0.0) for name in self.names], dtype=torch.float64)


def from_checkpoints(base: Path, finetuned: Mapping[str, Path], select: str | None) -> Ingredients:
    """The task vectors of checkpoints.

    Raises:
        VectorError: naming the file or tensor at fault.
    """
    vectors = VectorSet.task_vectors(base, finetuned, select=Selection.parse(select).rule)
    eye = torch.eye(len(vectors), dtype=torch.float64)
    return Ingredients(base, "task vectors", vectors.names, vectors, eye)


def from_basis(folder: Path, base: Path | None, inputs: str | tuple[str, ...]) -> Ingredients:
    """The atoms or the reconstructed task vectors of a saved basis.

    Args:
        folder: the basis.
        base: θ₀; that of the basis by default.
        inputs: ``atoms`` or ``reconstructed``, or names of atoms or of tasks.

    Raises:
        ConfigError: if the inputs are neither, or the basis does not say where its θ₀ is.
        BasisError: if θ₀ is not the one that the basis was made from.
        StoreError: naming the file of the basis that is missing or altered.
    """
    basis = Basis.load(folder)
    description = json.loads((folder / BASIS_DESCRIPTION).read_text())
    base = _base(folder, base, description.get("inputs"))
    atoms = atom_names(basis.M)
    over = _kind(basis, inputs)
    vectors = _stored(folder, basis, base, description)
    if over == "atoms":
        names, coefficients, of_sources = atoms, torch.eye(len(vectors), basis.M).double(), basis.encoder
    else:
        ones = torch.ones(len(vectors) - basis.M, len(basis.tasks), dtype=torch.float64)
        names, coefficients = basis.tasks, torch.cat([basis.decoder, ones])
        of_sources = basis.reconstruction_coefficients()
    made = Ingredients(
        base, "atoms" if over == "atoms" else "reconstructed task vectors", names, vectors, coefficients
    )
    if "gram" not in description:
        return made
    gram = Gram(torch.tensor(description["gram"], dtype=torch.float64), basis.sources).matrix
    return replace(made, gram=of_sources.T @ gram @ of_sources)


def _kind(basis: Basis, inputs: str | tuple[str, ...]) -> str:
    if isinstance(inputs, str):
        if inputs not in INPUTS[:2]:
            raise ConfigError(f"merge.inputs={inputs!r}: accepted with a basis are {', '.join(INPUTS[:2])}")
        return inputs
    atoms = atom_names(basis.M)
    for kind, names in (("reconstructed", basis.tasks), ("atoms", atoms)):
        if set(inputs) <= set(names):
            return kind
    unknown = [name for name in inputs if name not in basis.tasks]
    raise ConfigError(
        f"coefficients: unknown {unknown}; accepted: {', '.join(basis.tasks)}, or else {', '.join(atoms)}"
    )


def _base(folder: Path, base: Path | None, recorded: Mapping[str, Any] | None) -> Path:
    """The pretrained weights, checked against what the basis says of them."""
    entry = (recorded or {}).get("base") or {}
    if base is None:
        place = entry.get("path")
        base = None if place is None else folder / place
        if base is None or not base.exists():
            raise ConfigError(
                f"base: {folder} does not say where its pretrained weights are now; give base=PATH"
            )
    if known := content_hashes(entry):
        algorithm, expected = known
        if list(hash_files(TensorFile(base).files, algorithm).values()) != expected:
            raise BasisError(
                f"{base} is not the file that the basis in {folder} was made from ({algorithm} differs)"
            )
    return base


def _stored(folder: Path, basis: Basis, base: Path, description: Mapping[str, Any]) -> VectorSet:
    """The atoms, and the offset's vector last where there is one."""
    if not basis.drawn_again:
        names = basis.vector_names
        absent = [name for name in names if f"{name}.safetensors" not in description["files"]]
        if absent:
            raise BasisError(f"{folder} holds the matrices of a basis alone; save it with its vectors")
        return VectorSet.stored({name: folder / f"{name}.safetensors" for name in names})
    select = Selection.parse((description.get("inputs") or {}).get("select"))
    layout = common_layout({"base": TensorFile(base)}, select)
    method = RandomOrthonormal(M=basis.M, seed=int(basis.parameters["seed"]))
    noise = VectorSet.noise(layout, method.M, method.seed)
    if description["numel"] not in (None, noise.numel):
        raise BasisError(
            f"the basis in {folder} is of vectors of {description['numel']} elements, "
            f"and {base} has {noise.numel}"
        )
    method.verify(basis, noise)
    return noise.combine(basis.encoder[len(basis.tasks) :], atom_names(basis.M))
