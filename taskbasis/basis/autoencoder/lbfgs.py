"""The autoencoder fitted by L-BFGS: whole searches, from one start after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import OptimizeResult, minimize
from threadpoolctl import threadpool_limits
from torch import Tensor

from taskbasis.basis.autoencoder.objective import Objective
from taskbasis.basis.linear_algebra import Array

STALL = 20
"""Iterations in which the excess over the bound must fall by at least 0.1 %."""

Starts = Callable[[int], Array]
"""The logits A of shape (T, M) of the k-th start."""


class Search:
    """Minimises the loss over the logits by L-BFGS in float64 and keeps the best of its starts.

    A search goes on while it makes progress. The first start whose loss is within ``tolerance`` of the bound
    (relative, plus 1e-13 of the mean squared norm) is the last that is needed.

    Args:
        objective: loss and gradient.
        starts: logits by number of the start.
        bound: the least loss that any rank-M basis has.
        unit: the mean squared norm of the task vectors, by which the objective's Gram matrix is divided.
        tolerance: relative excess over the bound that is good enough.
        iterations: most iterations over all starts.
    """

    def __init__(
        self,
        objective: Objective,
        starts: Starts,
        *,
        bound: float,
        unit: float,
        tolerance: float,
        iterations: int,
    ) -> None:
        self.objective, self.starts, self.bound, self.iterations = objective, starts, bound, iterations
        self.unit = unit
        self.floor = bound + 1e-13 / len(objective.R)
        self.target = self.floor + tolerance * bound
        self.history: list[float] = []
        self.point: Array | None = None

    @property
    def losses(self) -> tuple[float, ...]:
        """Loss at the best start and after each iteration from there, of the Gram matrix as it was given."""
        return tuple(value * self.unit for value in self.history)

    def matrices(self) -> tuple[Tensor, Tensor]:
        """B of shape (T, M) and W of shape (M, T) of the best start."""
        assert self.point is not None
        B, W = self.objective.matrices(self.point)
        return torch.from_numpy(B), torch.from_numpy(W)

    @property
    def finished(self) -> bool:
        """Whether no further start is needed, or no iterations are left for one."""
        return self.point is not None and (self.history[-1] <= self.target or self.iterations <= 0)

    def begin(self, number: int) -> None:
        """Search from start ``number``."""
        point, history = self.descend(self.objective.start(self.starts(number)))
        self.iterations -= len(history)
        if self.point is None or history[-1] < self.history[-1]:
            self.point, self.history = point, history

    def descend(self, start: Array) -> tuple[Array, list[float]]:
        """Where L-BFGS ends from ``start``, and the loss at the start and after each iteration."""
        history = [self.objective(start)[0]]
        if history[0] <= self.floor:
            return start, history

        def watch(intermediate_result: OptimizeResult) -> None:
            history.append(float(intermediate_result.fun))
            if history[-1] <= self.floor or self._stalled(history):
                raise StopIteration

        options: dict[str, Any] = {
            "maxiter": self.iterations,
            "maxfun": 2 * self.iterations,
            "maxcor": 30,
            "ftol": 1e-15,
            "gtol": 1e-16,
        }
        # Threads cost more than they gain at this size, and results must not depend on their number.
        with threadpool_limits(limits=1, user_api="blas"):
            found = minimize(
                self.objective, start, jac=True, method="L-BFGS-B", callback=watch, options=options
            )
        return np.asarray(found.x), history

    def _stalled(self, history: list[float]) -> bool:
        if len(history) <= STALL:
            return False
        before, now = history[-1 - STALL] - self.bound, history[-1] - self.bound
        return not now < 0.999 * before
