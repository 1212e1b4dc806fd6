"""How a model is fine-tuned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from taskbasis.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """AdamW with a cosine schedule after linear warm-up, as all of the field fine-tunes CLIP.

    The length is ``max_steps`` optimizer steps or, if that is None, ``epochs`` passes.
    """

    lr: float
    """Peak learning rate."""
    weight_decay: float
    batch_size: int
    """Images per optimizer step."""
    epochs: int | Mapping[str, int] | None
    """Passes over the training images, for all tasks or by name."""
    max_steps: int | None
    warmup: float
    """Length of the warm-up: optimizer steps, or a share of the run if below 1; at most half the run."""
    grad_clip: float
    """Largest norm of the gradient; 0 does not clip."""
    accumulate: int = 1
    """Parts in which a batch is computed, one after the other, to save memory."""

    def __post_init__(self) -> None:
        checks = {
            "lr": self.lr > 0,
            "weight_decay": self.weight_decay >= 0,
            "batch_size": self.batch_size >= 1,
            "epochs": all(epochs >= 1 for epochs in self._all_epochs()),
            "max_steps": self.max_steps is None or self.max_steps >= 1,
            "warmup": self.warmup >= 0,
            "grad_clip": self.grad_clip >= 0,
            "accumulate": 1 <= self.accumulate <= self.batch_size,
        }
        for name, good in checks.items():
            if not good:
                raise ConfigError(f"finetune.{name}={getattr(self, name)} is out of range")
        if self.epochs is None and self.max_steps is None:
            raise ConfigError("finetune.epochs and finetune.max_steps are both null; one must be given")

    def of(self, task: str) -> Recipe:
        """The recipe of one task.

        Raises:
            ConfigError: if epochs are given by name, but not for this one.
        """
        if self.max_steps is not None or not isinstance(self.epochs, Mapping):
            return self
        if task not in self.epochs:
            raise ConfigError(f"finetune.epochs has no entry for {task!r}; give finetune.max_steps=…")
        return replace(self, epochs=self.epochs[task])

    def identity(self) -> dict[str, Any]:
        """The form in keys; what is not used is left out, and what changes nothing at its neutral value."""
        known = asdict(self)
        if self.max_steps is not None:
            known["epochs"] = None
        if self.accumulate == 1:
            del known["accumulate"]
        return known

    def steps(self, images: int) -> int:
        """Optimizer steps for a training set of ``images``."""
        if self.max_steps is not None:
            return self.max_steps
        assert isinstance(self.epochs, int)
        return self.epochs * math.ceil(images / self.batch_size)

    def _all_epochs(self) -> list[int]:
        if isinstance(self.epochs, Mapping):
            return list(self.epochs.values())
        return [] if self.epochs is None else [self.epochs]

    def warmup_steps(self, steps: int) -> int:
        """Steps of warm-up in a run of ``steps``."""
        wanted = self.warmup * steps if self.warmup < 1 else self.warmup
        return min(round(wanted), steps // 2)


def cosine_with_warmup(step: int, warmup: int, steps: int) -> float:
    """Factor on the learning rate for optimizer step ``step`` (from 0): linear to 1, then cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
