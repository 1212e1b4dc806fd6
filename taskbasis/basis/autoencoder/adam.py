"""The autoencoder trained by Adam, as the paper does it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from taskbasis.trainer import in_order

ROUND = 100
"""Adam steps in one training step: one optimiser step per Lightning step would be far too slow."""


@dataclass(frozen=True, kw_only=True)
class AdamSettings:
    """Settings of the paper's optimiser."""

    steps: int
    lr: float
    weight_decay: float
    grad_clip: float | None
    batch_cols: int | None
    """Columns of E in a step's loss, drawn without replacement; all if None."""
    anneal_every: int | None
    """Steps between multiplications of τ by ``anneal_factor``; never if None."""
    anneal_factor: float


class AdamModule(LightningModule):
    """Minimises tr(EᵀGE)/T², E = BW − I, over A and W together by Adam in float32.

    The Gram matrix is not normalised and weight decay acts on A and W, so the result depends on the
    norms of the task vectors; this module is for reproduction.

    Args:
        G: Gram matrix, float32 of shape (T, T).
        A: the start, float32 of shape (T, M); W starts at zero.
        encoder: ``softmax`` or ``linear``, how A becomes B.
        decoder: ``linear`` or ``softmax``, how its parameters become W.
        tau: softmax temperature at the start.
        settings: of the optimiser.
        generator: draws column batches.
    """

    def __init__(
        self,
        G: Tensor,
        A: Tensor,
        *,
        encoder: str,
        decoder: str,
        tau: float,
        settings: AdamSettings,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.G, self.kinds, self.tau, self.settings = G, (encoder, decoder), tau, settings
        self.A = nn.Parameter(A.clone())
        self.C = nn.Parameter(torch.zeros_like(A.T))
        self._generator = generator
        self._steps = 0
        self.losses: list[float] = []

    def matrices(self) -> tuple[Tensor, Tensor]:
        """B of shape (T, M) and W of shape (M, T)."""
        return self._applied(self.A, self.kinds[0]), self._applied(self.C, self.kinds[1])

    def forward(self, columns: Tensor | None = None) -> Tensor:
        """The loss, over the given columns of E (all by default) scaled to the whole."""
        T = len(self.G)
        B, W = self.matrices()
        E = B @ W - torch.eye(T)
        if columns is None:
            return torch.trace(E.T @ self.G @ E) / T**2
        E = E[:, columns]
        return torch.trace(E.T @ self.G @ E) / (T * len(columns))

    def train_dataloader(self) -> DataLoader[int]:
        """Numbers of steps, which are rounds but for the last."""
        full, rest = divmod(self.settings.steps, ROUND)
        return in_order([ROUND] * full + [rest] * bool(rest))

    def training_step(self, steps: Tensor, batch_index: int) -> None:
        """A round of ``steps`` Adam steps."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        for _ in range(int(steps)):
            optimizer.zero_grad()
            value: Tensor = self(self._columns())
            value.backward()  # type: ignore[no-untyped-call]
            if self.settings.grad_clip is not None:
                nn.utils.clip_grad_norm_(list(self.parameters()), self.settings.grad_clip)
            optimizer.optimizer.step()
            self._steps += 1
            every = self.settings.anneal_every
            if every is not None and self._steps % every == 0:
                self.tau *= self.settings.anneal_factor
        with torch.no_grad():
            self.losses.append(float(self()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with L2 weight decay."""
        return torch.optim.Adam(
            [self.A, self.C], lr=self.settings.lr, weight_decay=self.settings.weight_decay
        )

    def _applied(self, values: Tensor, kind: str) -> Tensor:
        return torch.softmax(values / self.tau, dim=0) if kind == "softmax" else values

    def _columns(self) -> Tensor | None:
        if self.settings.batch_cols is None:
            return None
        order = torch.randperm(len(self.G), generator=self._generator)
        return order[: self.settings.batch_cols]
