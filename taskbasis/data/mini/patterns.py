"""Surfaces that fill the sheet: textures and gratings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from taskbasis.data.mini.canvas import SIDE, Canvas, Colour

Field = npt.NDArray[Any]
"""Numbers, float32, or truth values at the 64 x 64 points of the sheet."""

_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) - SIDE / 2


def blend(light: Field, first: Colour, second: Colour) -> Image.Image:
    """The first colour where the field is 0, the second where it is 1."""
    low, high = np.array(first, np.float32), np.array(second, np.float32)
    return Image.fromarray((low + light[..., None] * (high - low)).astype(np.uint8))


def _fraction(x: Field) -> Field:
    return x - np.floor(x)


def _noise(canvas: Canvas, cells: int) -> Field:
    """Soft noise between 0 and 1 with about ``cells`` blots along each side."""
    values = canvas.rng.integers(0, 256, (cells, cells), dtype=np.uint8)
    soft = Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(soft, dtype=np.float32) / 255


def _bricks(x: Field, y: Field) -> Field:
    joint = _fraction(x / 2 + 0.5 * (np.floor(y) % 2)) < 0.12
    brick: Field = ~(joint | (_fraction(y) < 0.22))
    return brick


def _scales(x: Field, y: Field) -> Field:
    along = _fraction(x / 1.6 + 0.5 * (np.floor(y) % 2)) - 0.5
    scale: Field = along**2 * 3.2 + _fraction(y) ** 2 < 0.75
    return scale


def _patchwork(x: Field, y: Field) -> Field:
    column, row = np.floor(x / 1.7), np.floor(y / 1.7)
    shades: Field = (column * 7 + row * 13 + column * row * 5) % 5 / 4
    return shades


_PERIODIC: dict[str, Callable[[Field, Field], Field]] = {
    "stripes": lambda x, y: _fraction(y) < 0.5,
    "dots": lambda x, y: (_fraction(x) - 0.5) ** 2 + (_fraction(y) - 0.5) ** 2 < 0.1,
    "checkerboard": lambda x, y: (np.floor(x) + np.floor(y)) % 2,
    "bricks": _bricks,
    "zigzag": lambda x, y: _fraction(y + np.abs(_fraction(x / 2) - 0.5) * 1.8) < 0.5,
    "waves": lambda x, y: 0.5 + 0.5 * np.sin(2 * math.pi * (y + 0.35 * np.sin(math.pi * x))),
    "grid": lambda x, y: (_fraction(x) < 0.2) | (_fraction(y) < 0.2),
    "scales": _scales,
    "patchwork": _patchwork,
}
TEXTURES = (*_PERIODIC, "speckles", "marble", "rings")


def _texture(canvas: Canvas, name: str, x: Field, y: Field) -> Field:
    if name == "speckles":
        grains: Field = _noise(canvas, 24) > 0.66
        return grains
    if name == "marble":
        veins: Field = 0.5 + 0.5 * np.sin(0.5 * x + 9 * _noise(canvas, 5))
        return veins
    if name == "rings":
        across, down = canvas.jitter(1.5), canvas.jitter(1.5)
        waves: Field = _fraction(np.hypot(x - across, y - down)) < 0.5
        return waves
    return _PERIODIC[name](x, y)


def draw_texture(canvas: Canvas, label: int) -> None:
    """A pattern, turned; in the task also crumpled and unevenly lit."""
    angle, period = canvas.jitter(0.5), canvas.between(9, 15)
    warp = canvas.novel * canvas.between(1, 3) * np.sin(_ROWS / 7 + canvas.jitter(3))
    cos, sin = math.cos(angle) / period, math.sin(angle) / period
    x = (_COLUMNS + warp) * cos - _ROWS * sin + canvas.jitter(1)
    y = (_COLUMNS + warp) * sin + _ROWS * cos + canvas.jitter(1)
    light = _texture(canvas, TEXTURES[label], x, y).astype(np.float32)
    if canvas.novel:
        light *= 0.3 + 0.7 * _noise(canvas, 4)
    first = canvas.colour()
    canvas.paint(blend(light, first, canvas.against(first, 80)))


def _window(canvas: Canvas) -> Field:
    """A soft disc, 1 in its middle."""
    x, y = canvas.near((0, 0), 8)
    spread = canvas.between(12, 22)
    window: Field = np.exp(-((_ROWS - y) ** 2 + (_COLUMNS - x) ** 2) / (2 * spread**2))
    return window


def draw_grating(canvas: Canvas, label: int) -> None:
    """Stripes in one of eight orientations, 22.5 degrees apart; in the task they fade in and out."""
    angle = -math.pi * label / 8 + canvas.jitter(0.13)
    period = canvas.between(8, 16)
    phase = (_ROWS * math.cos(angle) - _COLUMNS * math.sin(angle)) * (2 * math.pi / period)
    wave = np.sin(phase + canvas.rng.uniform(0, 6.3))
    light = 0.5 + 0.5 * (wave * _window(canvas) if canvas.novel else np.sign(wave))
    first = canvas.colour()
    canvas.paint(blend(light, first, canvas.against(first, 90)))
