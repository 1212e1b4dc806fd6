"""The Gram matrix of a vector set: all that basis methods need to know about weight space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from taskbasis.errors import VectorError
from taskbasis.store.hashing import digest


@dataclass(frozen=True, eq=False)
class Gram:
    """G = VᵀV with the names of V's columns.

    Raises:
        VectorError: if the matrix is not square and symmetric, has other names, or is not finite.
    """

    matrix: Tensor
    """float64 of shape (T, T)."""
    names: tuple[str, ...]
    """Names of the T columns, in order."""

    def __post_init__(self) -> None:
        T = len(self.names)
        if self.matrix.shape != (T, T) or self.matrix.dtype != torch.float64:
            raise VectorError(
                f"a Gram matrix of {T} names must be float64 of shape {(T, T)}, "
                f"not {self.matrix.dtype} of shape {tuple(self.matrix.shape)}"
            )
        if len(set(self.names)) != T:
            raise VectorError(f"column names repeat: {sorted(self.names)}")
        for name, row in zip(self.names, self.matrix, strict=True):
            if not torch.isfinite(row).all():
                raise VectorError(f"the Gram matrix is not finite in the row of {name!r}")
        if not torch.allclose(self.matrix, self.matrix.T, rtol=1e-6, atol=0.0):
            raise VectorError("the Gram matrix is not symmetric")

    @cached_property
    def spectrum(self) -> Tensor:
        """Eigenvalues λ₁ ≥ λ₂ ≥ …, float64 of shape (T,), clipped at 0."""
        ascending: Tensor = torch.linalg.eigvalsh(self.matrix)
        return ascending.flip(0).clamp_min(0.0)

    @cached_property
    def key(self) -> str:
        """Content hash over names and values."""
        return digest(
            {"names": self.names, "matrix": [[x.hex() for x in row] for row in self.matrix.tolist()]}
        )

    @property
    def norms(self) -> Tensor:
        """Euclidean norms of the columns, float64 of shape (T,)."""
        return self.matrix.diagonal().clamp_min(0.0).sqrt()

    @property
    def cosines(self) -> Tensor:
        """Cosines between the columns, float64 of shape (T, T); 0 where a column is 0."""
        scale = torch.where(self.norms > 0, self.norms, torch.inf)
        return self.matrix / scale[:, None] / scale[None, :]

    def spectral_bound(self, M: int) -> float:
        """The least loss of any rank-M reconstruction: Σ_{i>M} λ_i(G) / T² (Eckart–Young)."""
        return float(self.spectrum[M:].sum()) / len(self.names) ** 2

    def save(self, path: Path) -> None:
        """Write the matrix and names as safetensors."""
        save_file({"gram": self.matrix}, path, metadata={"names": "\n".join(self.names)})

    @classmethod
    def load(cls, path: Path) -> Gram:
        """Read what :meth:`save` wrote."""
        from taskbasis.vectors.files import TensorFile

        names = TensorFile(path).metadata.get("names", "")
        return cls(load_file(path)["gram"], tuple(names.split("\n")))


def bordered(known: Gram, names: Sequence[str], rows: Sequence[int], products: Tensor) -> Gram:
    """The Gram matrix of ``names``, of which ``known`` is a part and ``products`` the other rows.

    Args:
        known: the Gram matrix of the columns that ``rows`` leaves out.
        names: names of all K columns.
        rows: indices of the R other columns.
        products: their inner products with all columns, float64 of shape (R, K).
    """
    matrix = torch.zeros(len(names), len(names), dtype=torch.float64)
    old = torch.tensor([names.index(name) for name in known.names])
    new = torch.tensor(rows, dtype=torch.long)
    matrix[old[:, None], old] = known.matrix
    matrix[new] = products
    matrix[:, new] = products.T
    return Gram((matrix + matrix.T) / 2, tuple(names))
