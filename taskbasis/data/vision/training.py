"""Training images of the real tasks, decoded and cropped anew whenever they are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from taskbasis.data.pixels import Pixels
from taskbasis.data.preprocess import Preprocess
from taskbasis.data.suite import WHOLE
from taskbasis.data.vision.images import Images
from taskbasis.data.vision.transforms import ToPixels, training_pixels

_SEEDS = 2**62


@dataclass(frozen=True)
class PixelImages:
    """Pictures that were resized and cropped before."""

    pixels: Pixels

    @property
    def labels(self) -> Tensor:
        """See :class:`~taskbasis.data.vision.images.Images`."""
        return self.pixels.labels

    def content(self, index: int) -> bytes:
        """See :class:`~taskbasis.data.vision.images.Images`."""
        return self.pixels.images[index].numpy().tobytes()

    def picture(self, index: int) -> Image.Image:
        """See :class:`~taskbasis.data.vision.images.Images`."""
        return Image.fromarray(self.pixels.images[index].permute(1, 2, 0).contiguous().numpy())


@dataclass(frozen=True)
class CroppedImages:
    """Images under open_clip's training transform; every image of a batch has a seed of its own."""

    images: Images
    preprocess: Preprocess

    def __len__(self) -> int:
        return len(self.images.labels)

    @property
    def in_memory(self) -> bool:
        """See :class:`~taskbasis.data.suite.TrainingSet`."""
        return False

    def batch(
        self, indices: Tensor, generator: torch.Generator, part: slice = WHOLE
    ) -> tuple[Tensor, Tensor]:
        """See :class:`~taskbasis.data.suite.TrainingSet`."""
        seeds = torch.randint(_SEEDS, (len(indices),), generator=generator)[part].tolist()
        wanted = indices[part]
        # The transform draws from the global generator, which is put back as it was.
        with torch.random.fork_rng(devices=[]):
            pixels = [self._pixels(i, seed) for i, seed in zip(wanted.tolist(), seeds, strict=True)]
        return torch.stack(pixels), self.images.labels[wanted]

    def _pixels(self, index: int, seed: int) -> Tensor:
        torch.manual_seed(seed)
        return self._transform(self.images.picture(index))

    @cached_property
    def _transform(self) -> ToPixels:
        return training_pixels(self.preprocess)
