"""Training batches as a pure function of (seed, step)."""

from __future__ import annotations

from functools import lru_cache

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from taskbasis.data.suite import TrainingSet
from taskbasis.seeds import derive_seed


class TrainingSteps(Dataset[tuple[Tensor, Tensor]]):
    """Item ``step`` is the batch of that optimizer step: its images, their order and augmentation.

    Each pass over the images has a permutation of its own; the last batch of a pass may be shorter.
    Nothing depends on what was drawn before, so a run can start at any step.
    """

    def __init__(self, images: TrainingSet, *, batch_size: int, steps: int, seed: int) -> None:
        self.images, self.batch_size, self.steps, self.seed = images, batch_size, steps, seed
        self.per_epoch = -(-len(images) // batch_size)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(step, self.per_epoch)
        order = _permutation(len(self.images), self.seed, epoch)
        indices = order[position * self.batch_size : (position + 1) * self.batch_size]
        generator = torch.Generator().manual_seed(derive_seed("augment", self.seed, step))
        return self.images.batch(indices, generator)


class FinetuneData(LightningDataModule):
    """Feeds :class:`TrainingSteps` to a trainer, one batch per item."""

    def __init__(self, steps: TrainingSteps, loader_workers: int = 0) -> None:
        super().__init__()
        self.steps, self.loader_workers = steps, loader_workers

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """The batches in order of the steps."""
        return DataLoader(
            self.steps,
            batch_size=None,
            num_workers=self.loader_workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),
        )


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed("order", seed, epoch))
    return torch.randperm(count, generator=generator)
