"""Training batches as a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from taskbasis.data.suite import TrainingSet
from taskbasis.seeds import derive_seed


@dataclass(frozen=True)
class Share:
    """Which part of every optimizer step's images an item is, of several equal ones."""

    rank: int = 0
    world: int = 1
    """Devices that compute a step together."""
    accumulate: int = 1
    """Parts that each of them computes one after the other."""


class TrainingSteps(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Item ``step`` is the batch of that optimizer step: its images, their order and augmentation.

    Each pass over the images has a permutation of its own; the last batch of a pass may be shorter.
    Nothing depends on what was drawn before, so a run can start at any step. With a share, there are
    ``accumulate`` items per step, each a part of its images.

    An item is images (n, 3, H, W), labels (n,), and the weight of their mean loss: the mean of all weighted
    losses of a step is the mean loss of its images.
    """

    def __init__(
        self, images: TrainingSet, *, batch_size: int, steps: int, seed: int, share: Share = Share()
    ) -> None:
        self.images, self.batch_size, self.steps, self.seed, self.share = (
            images,
            batch_size,
            steps,
            seed,
            share,
        )
        self.per_epoch = -(-len(images) // batch_size)

    def on(self, rank: int, world: int) -> TrainingSteps:
        """The same steps as one of ``world`` devices sees them."""
        share = replace(self.share, rank=rank, world=world)
        return TrainingSteps(
            self.images, batch_size=self.batch_size, steps=self.steps, seed=self.seed, share=share
        )

    def __len__(self) -> int:
        return self.steps * self.share.accumulate

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, Tensor]:
        step, turn = divmod(item, self.share.accumulate)
        epoch, position = divmod(step, self.per_epoch)
        order = _permutation(len(self.images), self.seed, epoch)
        indices = order[position * self.batch_size : (position + 1) * self.batch_size]
        generator = torch.Generator().manual_seed(derive_seed("augment", self.seed, step))
        part, weight = self._part(turn, len(indices))
        images, labels = self.images.batch(indices, generator, part)
        return images, labels, torch.tensor(weight)

    def _part(self, turn: int, count: int) -> tuple[slice, float]:
        shares = self.share.world * self.share.accumulate
        index = turn * self.share.world + self.share.rank
        start, stop = count * index // shares, count * (index + 1) // shares
        if start == stop:
            # A share without an image still takes part, without any weight.
            return slice(0, 1), 0.0
        return slice(start, stop), shares * (stop - start) / count


class FinetuneData(LightningDataModule):
    """Feeds :class:`TrainingSteps` to a trainer, one item per batch, to each device its share.

    Args:
        steps: the items.
        loader_workers: processes that make items ahead.
        start: the item to begin with, when a run goes on.
    """

    def __init__(self, steps: TrainingSteps, loader_workers: int = 0, start: int = 0) -> None:
        super().__init__()
        self.steps, self.loader_workers, self.start = steps, loader_workers, start

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor, Tensor]]:
        """The items in order."""
        steps = self.steps
        if self.trainer is not None:
            steps = steps.on(self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(
            steps,
            batch_size=None,
            sampler=_From(self.start, len(steps)),
            num_workers=self.loader_workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),
        )


class _From(Sampler[int]):
    """The items from one on; the length is that of all, which is how Lightning counts when it goes on."""

    def __init__(self, start: int, total: int) -> None:
        self._start, self._total = start, total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._start, self._total))

    def __len__(self) -> int:
        return self._total


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed("order", seed, epoch))
    return torch.randperm(count, generator=generator)
