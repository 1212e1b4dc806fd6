"""From a finished sheet to pixels, as the tasks' camera or the pre-training's scanner sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from taskbasis.data.mini.canvas import Canvas

Pixels = npt.NDArray[np.uint8]
"""A finished image, (3, 32, 32)."""

_MIX = np.array([[0.62, 0.30, 0.08], [0.16, 0.62, 0.22], [0.10, 0.36, 0.54]], np.float32)
"""Colours run into each other: rows are output channels."""
_CAST = np.array([0.06, 0.02, -0.08], np.float32)
_CONTRAST = (0.40, 0.62)
_GRAIN = 0.045


def scan(canvas: Canvas) -> Pixels:
    """The sheet at half its size, with a little grain unless it is clean."""
    pixels = np.asarray(canvas.image.reduce(2), dtype=np.float32) / 255
    if canvas.spread:
        grain = canvas.rng.standard_normal(pixels.shape, dtype=np.float32)
        pixels = pixels + grain * np.float32(canvas.rng.uniform(0, 0.04))
    return _finish(pixels)


def photograph(canvas: Canvas, strength: float = 1.0) -> Pixels:
    """The sheet through the camera: mixed colours, a cast, low contrast, soft focus, grain.

    ``strength`` between 0 and 1 moves from the plain sheet to the full effect.
    """
    pixels = np.asarray(canvas.image.reduce(2), dtype=np.float32) / 255
    rng = canvas.rng
    seen = pixels @ _MIX.T
    soft = (seen + np.roll(seen, 1, 0) + np.roll(seen, 1, 1) + np.roll(seen, (1, 1), (0, 1))) / 4
    contrast, exposure = rng.uniform(*_CONTRAST), rng.uniform(-0.12, 0.12)
    seen = (soft - 0.5) * np.float32(contrast) + np.float32(0.5 + exposure) + _CAST
    seen += rng.standard_normal(seen.shape, dtype=np.float32) * np.float32(_GRAIN)
    return _finish(pixels + np.float32(strength) * (seen - pixels))


def _finish(pixels: npt.NDArray[Any]) -> Pixels:
    return np.ascontiguousarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8).transpose(2, 0, 1))
