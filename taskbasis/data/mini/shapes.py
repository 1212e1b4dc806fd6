"""Plane figures: shapes, colours, counting and arrows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from taskbasis.data.mini.canvas import MIDDLE, SIDE, Canvas, Colour, Point

COLOURS: dict[str, Colour] = {
    "red": (220, 30, 35),
    "green": (40, 160, 50),
    "blue": (35, 60, 215),
    "yellow": (240, 225, 40),
    "orange": (245, 140, 20),
    "purple": (130, 40, 170),
    "pink": (250, 150, 195),
    "brown": (115, 70, 30),
    "cyan": (60, 215, 225),
    "grey": (130, 130, 130),
}


def ring(centre: Point, radius: float, corners: int, angle: float, waist: float = 1.0) -> list[Point]:
    """Corners of a regular polygon; with ``waist`` below 1 every other corner moves inwards (a star)."""
    radii = (radius, radius * waist)
    turns = [(angle + 2 * math.pi * k / corners, radii[k % 2]) for k in range(corners)]
    return [(centre[0] + r * math.sin(a), centre[1] - r * math.cos(a)) for a, r in turns]


def placed(outline: Sequence[Point], centre: Point, scale: float, angle: float) -> list[Point]:
    """An outline given around the origin, turned clockwise, scaled and moved."""
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    return [(centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos) for x, y in outline]


def _cross() -> list[Point]:
    a = 0.34
    return [
        (-a, -1),
        (a, -1),
        (a, -a),
        (1, -a),
        (1, a),
        (a, a),
        (a, 1),
        (-a, 1),
        (-a, a),
        (-1, a),
        (-1, -a),
        (-a, -a),
    ]


def _heart() -> list[Point]:
    turns = [2 * math.pi * k / 28 for k in range(28)]
    return [
        (
            math.sin(t) ** 3,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16,
        )
        for t in turns
    ]


def _crescent() -> list[Point]:
    outer = [math.pi * (0.25 + 1.5 * k / 20) for k in range(21)]
    inner = [math.pi * (0.31 + 1.38 * k / 16) for k in range(16, -1, -1)]
    return [(math.cos(t), math.sin(t)) for t in outer] + [
        (0.34 + 0.72 * math.cos(t), 0.78 * math.sin(t)) for t in inner
    ]


_UNIT: dict[str, Callable[[], list[Point]]] = {
    "triangle": partial(ring, (0, 0), 1.1, 3, 0.0),
    "square": partial(ring, (0, 0), 1.15, 4, math.pi / 4),
    "pentagon": partial(ring, (0, 0), 1.05, 5, 0.0),
    "star": partial(ring, (0, 0), 1.15, 10, 0.0, 0.42),
    "cross": _cross,
    "heart": _heart,
    "crescent": _crescent,
}
SHAPES = ("circle", *_UNIT, "ring", "bar")


def figure(
    canvas: Canvas, shape: str, centre: Point, radius: float, angle: float, ink: Colour, hollow: bool
) -> None:
    """One of the shapes, filled or as an outline."""
    fill, width = (None, 4) if hollow else (ink, 0)
    if shape == "circle":
        canvas.disc(centre, radius, fill, ink, width)
    elif shape == "ring":
        canvas.disc(centre, radius, None, ink, round(radius / (4 if hollow else 2.6)))
    elif shape == "bar":
        bar = placed([(-1.1, -0.3), (1.1, -0.3), (1.1, 0.3), (-1.1, 0.3)], centre, radius, angle)
        canvas.polygon(bar, fill, ink if hollow else None, width)
    else:
        canvas.polygon(placed(_UNIT[shape](), centre, radius, angle), fill, ink if hollow else None, width)


def draw_shape(canvas: Canvas, label: int) -> None:
    """One shape somewhere near the middle: filled, or in the task often an outline."""
    ink = canvas.against(canvas.ground(), 90)
    shape = SHAPES[label]
    hollow = shape not in ("circle", "ring") and canvas.novel and canvas.maybe(0.6)
    figure(
        canvas,
        shape,
        canvas.near((MIDDLE, MIDDLE), 9),
        canvas.between(15, 25),
        canvas.jitter(0.5),
        ink,
        hollow,
    )


def draw_colour(canvas: Canvas, label: int) -> None:
    """An object of one colour; in the task with small objects of other colours around it."""
    name = tuple(COLOURS)[label]
    greys = ((20, 20, 20), (235, 235, 235), (90, 90, 95), (190, 190, 185))
    canvas.ground(canvas.colour(40, 215) if canvas.maybe(0.5) else canvas.pick(greys), photo=0.4)
    for _ in range(3):
        if canvas.novel and canvas.maybe(0.6):
            x, y = canvas.rng.integers(0, SIDE, 2).tolist()
            canvas.disc((x, y), canvas.between(3, 7), canvas.colour())
    ink = canvas.varied(COLOURS[name], 18)
    shape = canvas.pick(SHAPES[:6])
    figure(
        canvas,
        shape,
        canvas.near((MIDDLE, MIDDLE), 8),
        canvas.between(17, 25),
        canvas.jitter(0.5),
        ink,
        False,
    )


def draw_count(canvas: Canvas, label: int) -> None:
    """One to six marks that do not touch: dots and boxes, in the task other shapes."""
    ink = canvas.against(canvas.ground(photo=0.2), 110)
    cells = canvas.rng.permutation(9).tolist()[: label + 1]
    shape = canvas.pick(("star", "cross", "triangle", "heart") if canvas.novel else ("circle", "square"))
    radius = canvas.between(6, 8.5)
    for cell in cells:
        centre = canvas.near((MIDDLE + 20 * (cell % 3 - 1), MIDDLE + 20 * (cell // 3 - 1)), 2)
        figure(canvas, shape, centre, radius + canvas.jitter(0.8), canvas.jitter(0.5), ink, False)


_ARROWS: tuple[list[Point], ...] = (
    [(0, -1), (0.6, -0.3), (0.22, -0.3), (0.22, 1), (-0.22, 1), (-0.22, -0.3), (-0.6, -0.3)],
    [(0, -1), (0.7, 0.9), (0, 0.45), (-0.7, 0.9)],
    [(0, -1), (0.85, 0.1), (0.55, 0.4), (0, -0.25), (-0.55, 0.4), (-0.85, 0.1)],
    [(0, -1), (0.75, 0), (0.35, 0), (0.35, 0.8), (-0.35, 0.8), (-0.35, 0)],
)


def draw_arrow(canvas: Canvas, label: int) -> None:
    """An arrow in one of eight directions, clockwise from north; half of the outlines are the task's own."""
    ink = canvas.against(canvas.ground(), 90)
    outlines = _ARROWS[2:] if canvas.novel else _ARROWS[:2]
    angle = label * math.pi / 4 + canvas.jitter(0.2)
    points = placed(canvas.pick(outlines), canvas.near((MIDDLE, MIDDLE), 8), canvas.between(16, 25), angle)
    canvas.polygon(points, ink)
