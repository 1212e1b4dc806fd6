"""Scoring as a LightningModule: one image encoder, many α."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics import Metric

from taskbasis.models.clip import ImageEncoder
from taskbasis.vectors.inplace import add_scaled_


class CorrectCount(Metric):
    """Counts correct top-1 predictions exactly; states are integers and sum over processes."""

    correct: Tensor
    n: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("correct", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("n", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits of shape (N, C) and labels of shape (N,)."""
        self.correct += (logits.argmax(dim=-1) == labels).sum()
        self.n += labels.numel()

    def compute(self) -> tuple[int, int]:
        """Correct predictions and their number."""
        return int(self.correct), int(self.n)


class AlphaScorer(LightningModule):
    """Scores θ₀ + α·v on one task for several α: the i-th dataloader is scored at ``alphas[i]``.

    The encoder is overwritten in place; nothing is loaded per α.

    Args:
        encoder: an image encoder of the right architecture.
        head: head weights of shape (C, d).
        theta0: the weights to start from, by name.
        vector: v by name; empty to score ``theta0`` itself.
        alphas: one scaling coefficient per dataloader.
    """

    head: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        head: Tensor,
        theta0: Mapping[str, Tensor],
        vector: Mapping[str, Tensor],
        alphas: Sequence[float],
    ) -> None:
        super().__init__()
        self.encoder, self.alphas = encoder, tuple(alphas)
        self.theta0, self.vector = theta0, vector
        self.register_buffer("head", head, persistent=False)
        self._counts = [CorrectCount() for _ in self.alphas]

    def on_validation_start(self) -> None:
        """Bring the weights to where the encoder is."""
        self.theta0 = {k: v.to(self.device) for k, v in self.theta0.items()}
        self.vector = {k: v.to(self.device) for k, v in self.vector.items()}
        self._counts = [metric.to(self.device) for metric in self._counts]

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Set the weights when a new α begins."""
        if batch_idx == 0:
            add_scaled_(self.encoder, self.theta0, self.vector, self.alphas[dataloader_idx])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count correct predictions on a batch."""
        images, labels = batch
        self._counts[dataloader_idx].update(self.encoder(images) @ self.head.T, labels)

    def totals(self) -> list[tuple[int, int]]:
        """Correct predictions and their number for each α."""
        return [metric.compute() for metric in self._counts]
