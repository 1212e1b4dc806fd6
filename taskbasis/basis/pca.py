"""Principal components of the task vectors, in coefficient space."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from taskbasis.basis.basis import Basis, check_rank
from taskbasis.basis.linear_algebra import leading_eigenvectors
from taskbasis.vectors.gram import Gram


@dataclass(frozen=True, kw_only=True)
class PCA:
    """Principal components, centred as in the paper or uncentred.

    With J = I − 11ᵀ/T and JGJ = UΛUᵀ the centred basis is B = J·U_M, W = U_Mᵀ, o = 1/T: the atoms are the
    scaled principal directions, and the mean task vector is stored beside them, M + 1 vectors in all.
    Each component has its largest coefficient in absolute value positive (the first one on ties): their
    sum would otherwise depend on the linear-algebra library. The components contain nothing of the mean,
    which is the direction of addition; and with all reconstructed vectors as inputs, addition equals
    task arithmetic by the stored mean alone.
    """

    M: int
    """Number of components: 1 ≤ M ≤ T − 1 centred, 1 ≤ M ≤ T uncentred."""
    center: bool = True
    """Subtract the mean task vector first."""

    def check(self, T: int) -> None:
        """Raise :class:`BasisError` if T tasks have no such basis."""
        check_rank(self.M, T, T - self.center, " with a centred PCA" if self.center else "")

    def fit(self, gram: Gram) -> Basis:
        """Fit the components.

        Args:
            gram: the Gram matrix of T task vectors.

        Raises:
            BasisError: if M is out of range.
        """
        T = len(gram.names)
        self.check(T)
        J = torch.eye(T, dtype=torch.float64) - self.center / T
        values, U = leading_eigenvectors(J @ gram.matrix @ J, self.M)
        encoder, decoder = J @ U, U.T.contiguous()
        offset = torch.full((T,), 1 / T, dtype=torch.float64) if self.center else None
        bound = float(values[self.M :].sum()) / T**2
        return Basis.fitted("pca", self, gram, encoder, decoder, offset=offset, bound=bound)
