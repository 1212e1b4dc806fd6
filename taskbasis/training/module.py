"""Fine-tuning as a LightningModule."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from taskbasis.errors import TrainingError
from taskbasis.models.clip import ImageEncoder
from taskbasis.training.recipe import Recipe, cosine_with_warmup


class FineTuner(LightningModule):
    """Trains an image encoder under a frozen zero-shot head with cross-entropy.

    Args:
        encoder: the image encoder, holding θ₀ at the start and θ_t at the end.
        head: head weights of shape (C, d); they get no gradient.
        recipe: how to train.
        steps: length of the run in optimizer steps.
        task: name for messages.
        compiled: whether to compile the image encoder.
    """

    head: Tensor
    loss: Tensor
    """Of the last batch, the mean over devices; a buffer, so that it comes back from their processes."""

    def __init__(
        self,
        encoder: ImageEncoder,
        head: Tensor,
        recipe: Recipe,
        *,
        steps: int,
        task: str,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.recipe, self.steps, self.task = encoder, recipe, steps, task
        self._compiled = compiled
        self.register_buffer("head", head, persistent=False)
        self.register_buffer("loss", torch.tensor(float("nan")))

    @property
    def last_loss(self) -> float:
        """The loss of the last batch."""
        return float(self.loss)

    def setup(self, stage: str) -> None:
        """Compile where training goes on, since what is compiled cannot be sent to another process."""
        if self._compiled:
            self.encoder.visual.compile()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (N, C)."""
        logits: Tensor = self.encoder(images) @ self.head.T
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_index: int) -> Tensor:
        """Mean cross-entropy of a batch, times its weight.

        Raises:
            TrainingError: if it is not finite.
        """
        images, labels, weight = batch
        loss = nn.functional.cross_entropy(self(images), labels) * weight
        # Reduced over devices, so that all of them stop where the loss of one is not finite.
        self.loss.copy_(self.trainer.strategy.reduce(loss.detach(), reduce_op="mean"))
        if not math.isfinite(self.last_loss):
            raise TrainingError(
                f"fine-tuning {self.task!r}: the loss is {self.last_loss} at step {self.global_step} of "
                f"{self.steps}; a lower finetune.lr or trainer.precision=32-true may help"
            )
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW on the image encoder, cosine schedule with warm-up per optimizer step."""
        optimizer = torch.optim.AdamW(
            self.encoder.parameters(), lr=self.recipe.lr, weight_decay=self.recipe.weight_decay
        )
        warmup = self.recipe.warmup_steps(self.steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: cosine_with_warmup(step, warmup, self.steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
