"""Landscapes in a few strokes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from taskbasis.data.mini.canvas import SIDE, Canvas, Colour, Point


def _hills(canvas: Canvas, horizon: float, height: float, ink: Colour) -> None:
    """A soft skyline from the left to the right edge and down to the bottom."""
    tops = [(x, horizon + canvas.jitter(height) - height * (x % 32 == 16)) for x in range(0, SIDE + 16, 16)]
    canvas.polygon([*tops, (SIDE + 16, SIDE), (0, SIDE)], ink)


def _peak(canvas: Canvas, top: Point, width: float, ink: Colour, cap: Colour) -> None:
    x, y = top
    canvas.polygon([(x, y), (x + width, SIDE), (x - width, SIDE)], ink)
    part = 0.26
    canvas.polygon(
        [(x, y), (x + width * part, y + (SIDE - y) * part), (x - width * part, y + (SIDE - y) * part)], cap
    )


def _mountains(canvas: Canvas) -> None:
    rock = canvas.varied((105, 105, 115), 25)
    for x in (16, 46, 32):
        _peak(
            canvas, canvas.near((x, 18 if x != 32 else 26), 5), canvas.between(22, 30), rock, (245, 245, 250)
        )
        rock = canvas.varied(rock, 20)


def _volcano(canvas: Canvas) -> None:
    lava = canvas.varied((235, 80, 25), 15)
    x, y = canvas.near((32, 22), 4)
    canvas.polygon([(x - 7, y), (x + 7, y), (x + 32, SIDE), (x - 32, SIDE)], canvas.varied((75, 55, 50), 15))
    canvas.polygon([(x - 6, y), (x + 6, y), (x + canvas.between(2, 8), 44), (x - 3, 40)], lava)
    for lift, radius in ((6, 5), (13, 7)):
        canvas.disc(canvas.near((x + 2, y - lift), 2), radius, canvas.varied((120, 120, 120), 25))


def _city(canvas: Canvas) -> None:
    left = -4.0
    while left < SIDE:
        width, top = float(canvas.rng.uniform(9, 15)), float(canvas.rng.uniform(10, 36))
        canvas.pen.rectangle((left, top, left + width, SIDE), canvas.colour(40, 130))
        for y in range(int(top) + 4, SIDE, 8):
            canvas.pen.line((left + 3, y, left + width - 3, y), (250, 230, 140), 2)
        left += width + 1


def _forest(canvas: Canvas) -> None:
    canvas.pen.rectangle((0, 48, SIDE, SIDE), canvas.varied((60, 90, 40), 20))
    for k in range(6):
        x, y = canvas.near((4 + 11 * k, 56 - 4 * (k % 2)), 3)
        ink, height = canvas.varied((30, 110, 50), 25), canvas.between(28, 40)
        canvas.pen.rectangle((x - 1, y - 6, x + 1, y + 2), (90, 60, 30))
        canvas.polygon([(x, y - height), (x + 8, y - 4), (x - 8, y - 4)], ink)


def _desert(canvas: Canvas) -> None:
    _hills(canvas, canvas.between(32, 40), 5, canvas.varied((225, 180, 105), 15))
    _hills(canvas, canvas.between(48, 54), 5, canvas.varied((205, 150, 80), 15))
    x, y = canvas.near((40, 40), 8)
    ink = canvas.varied((50, 120, 60), 15)
    canvas.pen.line((x, y - 14, x, y + 10), ink, 5)
    canvas.pen.line([(x - 8, y - 6), (x - 8, y), (x + 8, y), (x + 8, y - 8)], ink, 3)


def _sea(canvas: Canvas) -> None:
    horizon = canvas.between(28, 36)
    canvas.pen.rectangle((0, horizon, SIDE, SIDE), canvas.varied((30, 90, 160), 20))
    for crest in range(int(horizon) + 8, SIDE, 8):
        left = float(canvas.rng.uniform(0, 40))
        canvas.pen.line((left, crest, left + 20, crest), (160, 200, 230), 2)
    x, y = canvas.near((32, horizon + 6), 8)
    canvas.polygon(
        [(x - 12, y), (x + 12, y), (x + 7, y + 7), (x - 7, y + 7)], canvas.varied((120, 60, 40), 25)
    )
    canvas.polygon([(x, y - 20), (x + 11, y - 3), (x, y - 3)], (245, 245, 240))


def _island(canvas: Canvas) -> None:
    canvas.pen.rectangle((0, 36, SIDE, SIDE), canvas.varied((40, 140, 190), 20))
    x, y = canvas.near((32, 46), 4)
    canvas.pen.ellipse((x - 20, y - 6, x + 20, y + 10), canvas.varied((235, 210, 140), 12))
    canvas.pen.line((x, y, x + 4, y - 26), (110, 75, 40), 4)
    for dx, dy in ((-12, -2), (12, -4), (-8, 8), (10, 7), (0, -9)):
        canvas.pen.line((x + 4, y - 26, x + 4 + dx, y - 26 + dy), canvas.varied((40, 140, 60), 20), 4)


def _meadow(canvas: Canvas) -> None:
    _hills(canvas, canvas.between(30, 38), 6, canvas.varied((95, 175, 70), 20))
    for _ in range(12):
        x, y = float(canvas.rng.uniform(2, 62)), float(canvas.rng.uniform(42, 62))
        canvas.disc(
            (x, y), 2.3, canvas.pick(((250, 230, 60), (245, 120, 170), (245, 245, 245), (220, 60, 60)))
        )


def _road(canvas: Canvas) -> None:
    horizon = canvas.between(26, 34)
    canvas.pen.rectangle((0, horizon, SIDE, SIDE), canvas.varied((120, 140, 80), 30))
    x = 32 + canvas.jitter(8)
    canvas.polygon(
        [(x - 3, horizon), (x + 3, horizon), (58, SIDE), (6, SIDE)], canvas.varied((75, 75, 80), 12)
    )
    canvas.pen.line((x, horizon + 4, (x + 32) / 2, 46), (245, 245, 245), 2)
    canvas.pen.line(((x + 64) / 3, 52, 32, SIDE), (245, 245, 245), 4)


def _village(canvas: Canvas) -> None:
    canvas.pen.rectangle((0, 46, SIDE, SIDE), canvas.varied((90, 150, 70), 20))
    for x in (10, 32, 54):
        left, base = canvas.near((x, 54), 3)
        wall, size = canvas.colour(180, 250), canvas.between(8, 10)
        canvas.pen.rectangle((left - size, base - size * 1.6, left + size, base), wall)
        roof = [
            (left - size - 2, base - size * 1.6),
            (left + size + 2, base - size * 1.6),
            (left, base - size * 3),
        ]
        canvas.polygon(roof, canvas.varied((175, 60, 45), 25))
        canvas.pen.rectangle((left - 2, base - 8, left + 2, base), (80, 55, 40))


_SCENES: dict[str, Callable[[Canvas], None]] = {
    "mountains": _mountains,
    "volcano": _volcano,
    "city": _city,
    "forest": _forest,
    "desert": _desert,
    "sea": _sea,
    "island": _island,
    "meadow": _meadow,
    "road": _road,
    "village": _village,
}
LANDSCAPES = tuple(_SCENES)
_DAY: tuple[Colour, ...] = ((130, 190, 240), (170, 210, 245), (185, 195, 205))
_DUSK: tuple[Colour, ...] = ((240, 150, 90), (200, 100, 120), (60, 60, 120))


def draw_landscape(canvas: Canvas, label: int) -> None:
    """A landscape by day, in the task at dusk."""
    canvas.ground(canvas.varied(canvas.pick(_DUSK if canvas.novel else _DAY), 20), photo=0.0)
    if canvas.maybe(0.4):
        canvas.disc((float(canvas.rng.uniform(6, 58)), float(canvas.rng.uniform(6, 20))), 5, (250, 235, 150))
    sky = canvas.image.copy()
    _SCENES[LANDSCAPES[label]](canvas)
    if canvas.novel:
        lit = np.any(np.asarray(canvas.image) != np.asarray(sky), axis=-1)
        dark = Image.blend(
            canvas.image, Image.new("RGB", (SIDE, SIDE), (35, 20, 50)), canvas.between(0.55, 0.8)
        )
        canvas.image.paste(dark, mask=Image.fromarray(lit))
    canvas.turn(canvas.jitter(5))
