"""The tiny CLIP that ships with the package: open_clip's own class, small enough for a laptop's processor."""

from __future__ import annotations

from taskbasis.models.tiny.tokenizer import TinyTokenizer
from taskbasis.models.tiny.weights import IMAGE_SIZE, MEAN, STD, load_tiny

__all__ = ["IMAGE_SIZE", "MEAN", "STD", "TinyTokenizer", "load_tiny"]
