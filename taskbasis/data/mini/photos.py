"""The real images of the suite: photographs and handwritten digits that its dependencies ship."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

Pixels = npt.NDArray[Any]
SPLITS = ("train", "val", "test")
_STRIPS = {"train": (0.0, 0.55), "val": (0.55, 0.75), "test": (0.75, 1.0)}
_SCANS = {"train": (0, 1100), "val": (1100, 1300), "test": (1300, 1797)}
_PHOTO_HEIGHT = 420


@cache
def _photographs() -> tuple[Image.Image, ...]:
    """A temple, a flower and a portrait, all 420 pixels high."""
    from matplotlib import cbook
    from sklearn.datasets import load_sample_images

    pictures = [Image.fromarray(picture) for picture in load_sample_images().images]
    portrait = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    pictures.append(Image.open(portrait).convert("RGB"))
    return tuple(p.resize((p.width * _PHOTO_HEIGHT // p.height, _PHOTO_HEIGHT)) for p in pictures)


def crop(rng: np.random.Generator, side: int, split: str, contrast: float = 1.0) -> Image.Image:
    """A square piece of a photograph as an RGB image with ``side`` pixels.

    Every split has its own upright strip of each photograph, so that no two splits share a pixel.
    """
    photograph = _photographs()[int(rng.integers(3))]
    start, end = (round(edge * photograph.width) for edge in _STRIPS[split])
    size = int(rng.integers(64, min(end - start, 140) + 1))
    left = int(rng.integers(start, end - size + 1))
    top = int(rng.integers(0, photograph.height - size + 1))
    piece = photograph.resize((side, side), Image.Resampling.BILINEAR, (left, top, left + size, top + size))
    return piece if contrast == 1.0 else ImageEnhance.Contrast(piece).enhance(contrast)


@cache
def _scans() -> tuple[Pixels, Pixels]:
    """The 1797 scans as (N, 8, 8) uint8 and their digits, in a fixed shuffled order."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    return (digits.images[order] * (255 / 16)).astype(np.uint8), digits.target[order]


@cache
def _scans_of(digit: int, split: str) -> Pixels:
    start, end = _SCANS[split]
    images, targets = (part[start:end] for part in _scans())
    chosen: Pixels = images[targets == digit]
    return chosen


def scan(digit: int, split: str, ordinal: int) -> Image.Image:
    """Scan number ``ordinal`` of a digit in a split, 8 x 8 greyscale; after the last comes the first."""
    images = _scans_of(digit, split)
    return Image.fromarray(images[ordinal % len(images)])
