"""The autoencoder as a LightningModule, trained on the Gram matrix by L-BFGS."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from taskbasis.basis.autoencoder.objective import convex_encoder, reduced_loss

ROUND = 20
"""L-BFGS iterations in one training step."""


class AutoencoderModule(LightningModule):
    """Minimises the reduced loss over the logits A; the decoder follows by least squares.

    Training stops when the loss is within ``tolerance`` of the bound (relative, plus 1e-13 of the mean
    squared norm) or when a round of L-BFGS iterations no longer makes progress.

    Args:
        R: square root of the normalised Gram matrix, float64 of shape (T, T).
        logits: the start A, float64 of shape (T, M).
        tau: softmax temperature.
        bound: the least loss that any rank-M basis has for this R.
        tolerance: relative excess over the bound that is good enough.
    """

    def __init__(self, R: Tensor, logits: Tensor, *, tau: float, bound: float, tolerance: float) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.R = R
        self.logits = nn.Parameter(logits.clone())
        self.tau = tau
        self.target = bound * (1 + tolerance) + 1e-13 / len(R)
        self.history: list[float] = []

    def forward(self) -> Tensor:
        """The basis encoder B, shape (T, M)."""
        return convex_encoder(self.logits, self.tau)

    def on_train_start(self) -> None:
        """Record the loss of the start."""
        with torch.no_grad():
            self._record(float(reduced_loss(self.R, self())))

    def training_step(self, batch: Tensor, batch_index: int) -> None:
        """One round of L-BFGS iterations."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        optimizer.step(self._closure)
        with torch.no_grad():
            self._record(float(reduced_loss(self.R, self())))
        before, after = self.history[-2:]
        if not before - after > 1e-9 * before:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """L-BFGS with strong Wolfe line search, in float64."""
        return torch.optim.LBFGS(
            [self.logits],
            max_iter=ROUND,
            history_size=50,
            tolerance_grad=1e-14,
            tolerance_change=1e-18,
            line_search_fn="strong_wolfe",
        )

    def _closure(self) -> Tensor:
        self.logits.grad = None
        value = reduced_loss(self.R, self())
        value.backward()  # type: ignore[no-untyped-call]
        return value

    def _record(self, value: float) -> None:
        self.history.append(value)
        if value <= self.target:
            self.trainer.should_stop = True
