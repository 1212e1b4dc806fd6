"""Small linear algebra on Gram matrices, shared by the basis methods.

With E = BW − I the loss is L = tr(EᵀGE)/T² = ‖R·E‖_F²/T² for any factor G = RᵀR (Lemma 3.2 of the
paper). Written with R it is a sum of squares: it cannot become negative by cancellation, and the best
decoder is an ordinary least-squares solution.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

_DEPENDENT = 1e-11


def square_root(G: Tensor) -> Tensor:
    """R of shape (T, T) with RᵀR = G scaled to tr G = T; zero if G is zero.

    The scale makes a fit independent of the norms of the task vectors.
    """
    values, vectors = torch.linalg.eigh(G)
    total = values.clamp_min(0.0).sum()
    if total <= 0:
        return torch.zeros_like(G)
    R: Tensor = (values.clamp_min(0.0) * (len(G) / total)).sqrt()[:, None] * vectors.T
    return R


def least_squares(X: Array, Y: Array) -> Array:
    """W that minimises ‖XW − Y‖_F; the one of least norm if columns of X are dependent."""
    Q, r = np.linalg.qr(X)
    size = np.abs(np.diagonal(r))
    if size.min() > _DEPENDENT * size.max():
        solution: Array = np.linalg.solve(r, Q.T @ Y)
        return solution
    least_norm: Array = np.linalg.pinv(X, rcond=_DEPENDENT) @ Y
    return least_norm


def best_decoder(G: Tensor, B: Tensor) -> Tensor:
    """W of shape (M, T) with the least loss for a basis encoder B of shape (T, M): (BᵀGB)⁻¹BᵀG."""
    R = square_root(G)
    return torch.from_numpy(least_squares((R @ B).numpy(), R.numpy()))


def leading_eigenvectors(matrix: Tensor, M: int) -> tuple[Tensor, Tensor]:
    """All eigenvalues in descending order, clipped at 0, and the first M eigenvectors with fixed signs.

    The entry of largest magnitude of each eigenvector is positive; among entries within 1e-9 of the
    largest, the first decides.

    Args:
        matrix: symmetric positive semidefinite, shape (T, T).
        M: number of eigenvectors.

    Returns:
        Shapes (T,) and (T, M).
    """
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    U = vectors.flip(1)[:, :M]
    sizes = U.abs()
    first = (sizes >= sizes.amax(dim=0) * (1 - 1e-9)).int().argmax(dim=0)
    signs = torch.sign(U[first, torch.arange(M)])
    return values.flip(0).clamp_min(0.0), U * signs
