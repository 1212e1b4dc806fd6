"""A random orthonormal basis, outside the span of the task vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from taskbasis.basis.basis import Basis, check_rank
from taskbasis.errors import BasisError
from taskbasis.vectors.gram import Gram
from taskbasis.vectors.vectorset import VectorSet

ORTHONORMAL = 1e-5
"""How far inner products of the atoms may be from 0 and 1: other noise is 1/√D away, float32 sums 1e-6."""


@dataclass(frozen=True, kw_only=True)
class RandomOrthonormal:
    """M orthonormal random vectors; the decoder is the projection of the task vectors on them.

    The sources are the T task vectors and M columns of seeded noise R that are drawn when they are needed
    and never stored. With L the Cholesky factor of RᵀR, B = [0; L⁻ᵀ], so that the atoms S = R·L⁻ᵀ are
    orthonormal, and W = SᵀV. A smaller M is a prefix of a larger one.
    """

    M: int
    """Number of atoms, 1 ≤ M ≤ T."""
    seed: int = 0
    """Seed of the noise, 0 or more."""

    def check(self, T: int) -> None:
        """Raise :class:`BasisError` if T tasks have no such basis."""
        check_rank(self.M, T)

    def sources(self, tasks: VectorSet) -> VectorSet:
        """The columns whose Gram matrix :meth:`fit` needs: the task vectors, then the noise.

        Raises:
            BasisError: if M is out of range.
        """
        self.check(len(tasks))
        return VectorSet.concat(tasks, VectorSet.noise(tasks.layout, self.M, self.seed))

    def verify(self, basis: Basis, sources: VectorSet) -> None:
        """Check that the noise drawn here is that of the basis: its atoms are orthonormal.

        Raises:
            BasisError: if they are not, as when another version of NumPy draws other numbers.
        """
        noise = VectorSet.noise(sources.layout, self.M, self.seed).gram().matrix
        weights = basis.encoder[len(basis.tasks) :]
        atoms = weights.T @ noise @ weights
        if not torch.allclose(atoms, torch.eye(self.M, dtype=torch.float64), rtol=0.0, atol=ORTHONORMAL):
            raise BasisError(
                f"the noise drawn for the random basis (M={self.M}, seed={self.seed}) is not the noise "
                "it was fitted to; fit it again (in an experiment, remove its Gram matrix from the store)"
            )

    def fit(self, gram: Gram) -> Basis:
        """Orthonormalise the noise and project.

        Args:
            gram: the Gram matrix of :meth:`sources`, T + M columns.

        Raises:
            BasisError: if the last M columns are not this method's noise.
        """
        K = len(gram.names)
        T = K - self.M
        noise = tuple(f"noise-{self.seed}-{i}" for i in range(self.M))
        if T < 1 or gram.names[T:] != noise:
            raise BasisError(
                f"a random basis with M={self.M} needs the Gram matrix of its sources(…), which ends with "
                f"{noise[0]} … {noise[-1]}; got {list(gram.names)}"
            )
        L = torch.linalg.cholesky(gram.matrix[T:, T:])
        eye = torch.eye(self.M, dtype=torch.float64)
        upper = torch.linalg.solve_triangular(L, eye, upper=False).T
        encoder = torch.cat([torch.zeros(T, self.M, dtype=torch.float64), upper])
        decoder = upper.T @ gram.matrix[T:, :T]
        return Basis.fitted("random", self, gram, encoder, decoder)
