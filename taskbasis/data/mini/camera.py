"""From a finished sheet to pixels: pre-training scans it, a task photographs it with one of five cameras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from taskbasis.data.mini.canvas import Canvas

Pixels = npt.NDArray[np.uint8]
"""A finished image, (3, 32, 32)."""
Triple = tuple[float, float, float]
_Light = npt.NDArray[Any]
"""float32 (32, 32, 3), 0 to 1."""
_MAX_SCAN_GRAIN = 0.04
_EXPOSURE = 0.1
"""Every photograph is up to this much lighter or darker."""


@dataclass(frozen=True)
class Camera:
    """What a camera does to a picture with channels in [0, 1]."""

    mix: tuple[Triple, Triple, Triple]
    """Output channels (rows) as mixtures of the true ones."""
    cast: Triple
    """Added to the channels."""
    contrast: tuple[float, float]
    """Range of the contrast, from which every picture has its own; 1 keeps it."""
    grain: float
    """Standard deviation of the noise of every pixel."""
    soft: bool = False
    """Whether each pixel is averaged with its neighbours."""
    lines: float = 0.0
    """Darkening of every second row."""
    fringe: int = 0
    """Pixels by which red and blue part from green."""


OLD_FILM = Camera(
    mix=((0.62, 0.30, 0.08), (0.16, 0.62, 0.22), (0.10, 0.36, 0.54)),
    cast=(0.06, 0.02, -0.08),
    contrast=(0.5, 0.7),
    grain=0.055,
)
NIGHT = Camera(
    mix=((0.50, 0.25, 0.25), (0.15, 0.60, 0.25), (0.05, 0.25, 0.70)),
    cast=(-0.18, -0.14, 0.02),
    contrast=(0.4, 0.6),
    grain=0.04,
)
FADED = Camera(
    mix=((0.70, 0.15, 0.15), (0.30, 0.45, 0.25), (0.20, 0.15, 0.65)),
    cast=(0.20, 0.12, 0.16),
    contrast=(0.3, 0.5),
    grain=0.02,
)
UNDER_WATER = Camera(
    mix=((0.45, 0.40, 0.15), (0.10, 0.70, 0.20), (0.05, 0.45, 0.50)),
    cast=(-0.14, 0.06, 0.05),
    contrast=(0.5, 0.7),
    grain=0.02,
    soft=True,
)
TELEVISION = Camera(
    mix=((0.80, 0.10, 0.10), (0.10, 0.80, 0.10), (0.10, 0.10, 0.80)),
    cast=(-0.02, 0.03, 0.05),
    contrast=(0.6, 0.85),
    grain=0.03,
    lines=0.35,
    fringe=1,
)


def scan(canvas: Canvas) -> Pixels:
    """The sheet at half its size, with a little grain unless it is clean."""
    light = _halved(canvas)
    if canvas.spread:
        light += _noise(canvas, float(canvas.rng.uniform(0, _MAX_SCAN_GRAIN)))
    return _finish(light)


def photograph(canvas: Canvas, camera: Camera) -> Pixels:
    """The sheet at half its size as the camera sees it."""
    light: _Light = _halved(canvas) @ np.array(camera.mix, np.float32).T
    if camera.soft:
        for axis in (0, 1):
            light = (np.roll(light, 1, axis) + 2 * light + np.roll(light, -1, axis)) / 4
    if camera.fringe:
        light[..., 0] = np.roll(light[..., 0], camera.fringe, 1)
        light[..., 2] = np.roll(light[..., 2], -camera.fringe, 1)
    contrast = float(canvas.rng.uniform(*camera.contrast))
    exposure = float(canvas.rng.uniform(-_EXPOSURE, _EXPOSURE))
    light = (light - 0.5) * contrast + (0.5 + exposure + np.array(camera.cast, np.float32))
    light[1::2] *= 1 - camera.lines
    return _finish(light + _noise(canvas, camera.grain))


def _halved(canvas: Canvas) -> _Light:
    return np.asarray(canvas.image.reduce(2), dtype=np.float32) / 255


def _noise(canvas: Canvas, deviation: float) -> _Light:
    return canvas.rng.standard_normal((32, 32, 3), dtype=np.float32) * np.float32(deviation)


def _finish(light: _Light) -> Pixels:
    return np.ascontiguousarray((np.clip(light, 0, 1) * 255).astype(np.uint8).transpose(2, 0, 1))
