"""Labelled pixels on disk: what is drawn or decoded once and then only looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset

from taskbasis.errors import DataError
from taskbasis.vectors.files import TensorFile

PIXELS = "pixels.safetensors"


@dataclass(frozen=True)
class Pixels:
    """Images at the size that a model looks at, with their labels."""

    images: Tensor
    """uint8 of shape (N, 3, H, W)."""
    labels: Tensor
    """int64 of shape (N,)."""

    def __len__(self) -> int:
        return len(self.labels)

    def save(self, folder: Path) -> None:
        """Write ``pixels.safetensors`` into ``folder``."""
        save_file({"images": self.images, "labels": self.labels}, folder / PIXELS)

    @classmethod
    def open(cls, path: Path) -> Pixels:
        """Memory-map pixels that were saved.

        Raises:
            DataError: if the file has other contents than pixels and labels of one length.
        """
        file = TensorFile(path)
        try:
            images, labels = file.read("images"), file.read("labels")
        except SafetensorError as error:
            raise DataError(f"{path} does not hold images and labels: {error}") from error
        if images.dtype != torch.uint8 or len(images) != len(labels):
            raise DataError(f"{path}: {len(images)} images ({images.dtype}) and {len(labels)} labels")
        return cls(images, labels)


class PixelBatches(Dataset[tuple[Tensor, Tensor]]):
    """Consecutive batches of stored pixels, the last one shorter.

    Item i is images (n, 3, H, W) uint8 and labels (n,), n ≤ ``batch_size``.
    """

    def __init__(self, pixels: Pixels, batch_size: int) -> None:
        self.pixels, self.batch_size = pixels, batch_size

    def __len__(self) -> int:
        return -(-len(self.pixels) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.pixels.images[rows], self.pixels.labels[rows]
