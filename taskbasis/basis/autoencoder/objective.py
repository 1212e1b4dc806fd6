"""The autoencoder's loss on a Gram matrix.

With E = BW − I the loss is L = tr(EᵀGE)/T² = ‖R·E‖_F²/T² for any factor G = RᵀR (Lemma 3.2 of the
paper). Written with R it is a sum of squares: it cannot become negative by cancellation, and the best
decoder is an ordinary least-squares solution.
"""

from __future__ import annotations

import torch
from torch import Tensor

_RANK_TOLERANCE = 1e-11


def square_root(G: Tensor) -> Tensor:
    """R of shape (T, T) with RᵀR = G scaled to tr G = T; zero if G is zero.

    The scale makes the fit independent of the norms of the task vectors.
    """
    values, vectors = torch.linalg.eigh(G)
    total = values.clamp_min(0.0).sum()
    if total <= 0:
        return torch.zeros_like(G)
    R: Tensor = (values.clamp_min(0.0) * (len(G) / total)).sqrt()[:, None] * vectors.T
    return R


def convex_encoder(logits: Tensor, tau: float) -> Tensor:
    """B = softmax(A/τ) down each column: every atom is a convex combination of task vectors."""
    return torch.softmax(logits / tau, dim=0)


def best_decoder(R: Tensor, B: Tensor) -> Tensor:
    """W of shape (M, T) that minimises ‖R(BW − I)‖_F; the least-norm one if the atoms are dependent."""
    W: Tensor = torch.linalg.pinv(R @ B, rtol=_RANK_TOLERANCE) @ R
    return W


def loss(R: Tensor, B: Tensor, W: Tensor) -> Tensor:
    """‖R(BW − I)‖_F² / T²."""
    return (R @ (B @ W) - R).square().sum() / len(R) ** 2


def reduced_loss(R: Tensor, B: Tensor) -> Tensor:
    """The loss at the best decoder, differentiable in B.

    W is a minimiser, so its own derivative does not contribute (envelope theorem) and it is held fixed.
    """
    with torch.no_grad():
        W = best_decoder(R, B)
    return loss(R, B, W)
