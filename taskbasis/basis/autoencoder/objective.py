"""The autoencoder's loss and gradient on a Gram matrix, in NumPy: T×T problems want little overhead.

The loss is ‖R(BW − I)‖_F²/T² with RᵀR = G (see :mod:`taskbasis.basis.linear_algebra`). Where W is free it
is always the best one for B, so that B alone is searched; W being a minimiser, its own derivative does
not contribute to the gradient in B (envelope theorem).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from taskbasis.basis.linear_algebra import Array, least_squares


@dataclass(frozen=True)
class Objective:
    """The loss as a function of one flat vector: the logits A of B and, for a softmax decoder, those of W."""

    R: Array
    """Square root of the normalised Gram matrix, shape (T, T)."""
    M: int
    encoder: str
    """``softmax``: B = softmax(A/τ) down each column; ``linear``: B = A."""
    decoder: str
    """``linear``: W is free; ``softmax``: columns of W are convex combinations of atoms."""
    tau: float
    """Softmax temperature."""

    def start(self, A: Array) -> Array:
        """The flat vector for logits A of shape (T, M), with W uniform where it has logits."""
        free = np.zeros(A.size) if self.decoder == "softmax" else np.zeros(0)
        return np.concatenate([A.ravel(), free])

    def matrices(self, point: Array) -> tuple[Array, Array]:
        """B of shape (T, M) and W of shape (M, T)."""
        T = len(self.R)
        A, C = np.split(point, [T * self.M])
        B = A.reshape(T, self.M)
        B = softmax(B / self.tau, axis=0) if self.encoder == "softmax" else B
        if self.decoder == "softmax":
            return B, softmax(C.reshape(self.M, T) / self.tau, axis=0)
        return B, least_squares(self.R @ B, self.R)

    def __call__(self, point: Array) -> tuple[float, Array]:
        """Loss and gradient."""
        B, W = self.matrices(point)
        E = self.R @ (B @ W) - self.R
        back = (2 / len(self.R) ** 2) * (self.R.T @ E)
        parts = [self._through(self.encoder, B, back @ W.T)]
        if self.decoder == "softmax":
            parts.append(self._through(self.decoder, W, B.T @ back))
        return float(np.square(E).sum()) / len(self.R) ** 2, np.concatenate([p.ravel() for p in parts])

    def _through(self, kind: str, values: Array, gradient: Array) -> Array:
        if kind == "linear":
            return gradient
        through: Array = values * (gradient - (values * gradient).sum(axis=0)) / self.tau
        return through
