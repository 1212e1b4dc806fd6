"""Pictures to pixels: open_clip's own transforms, stopped before pixels become floating-point inputs."""

from __future__ import annotations

from collections.abc import Callable

import open_clip
from PIL import Image
from torch import Tensor
from torchvision.transforms import Compose
from torchvision.transforms.functional import pil_to_tensor

from taskbasis.data.preprocess import Preprocess

ToPixels = Callable[[Image.Image], Tensor]
"""From a picture to uint8 pixels of shape (3, H, W)."""
_TO_INPUTS = 2
"""The last two steps of open_clip's transforms scale and normalise, which image encoders do themselves."""


def evaluation_pixels(preprocess: Preprocess) -> ToPixels:
    """Resize and crop as open_clip does in evaluation."""
    return _pixels(preprocess, is_train=False)


def training_pixels(preprocess: Preprocess) -> ToPixels:
    """A random crop of 90 to 100 % of the area, as in open_clip's training; PyTorch's generator draws it."""
    return _pixels(preprocess, is_train=True)


def _pixels(preprocess: Preprocess, *, is_train: bool) -> ToPixels:
    whole = open_clip.image_transform(
        preprocess.image_size,
        is_train=is_train,
        mean=preprocess.mean,
        std=preprocess.std,
        resize_mode=preprocess.resize_mode,
        interpolation=preprocess.interpolation,
    )
    steps: ToPixels = Compose([*whole.transforms[:-_TO_INPUTS], pil_to_tensor])
    return steps
