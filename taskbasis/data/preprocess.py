"""How pictures become inputs of an image encoder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocess:
    """What an image encoder wants to be shown; the words are open_clip's.

    Pictures are resized, cropped to a square and stored as pixels; the encoder itself computes
    x = (pixel / 255 − mean) / std, per channel.
    """

    image_size: int
    """Height and width in pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    """Which side becomes ``image_size`` before the crop: ``shortest``, ``longest`` or both (``squash``)."""
