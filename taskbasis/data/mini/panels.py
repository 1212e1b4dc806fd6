"""Flat printed things: road signs, flags and charts."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from taskbasis.data.mini.canvas import MIDDLE, SIDE, Canvas, Colour, Point
from taskbasis.data.mini.glyphs import write
from taskbasis.data.mini.shapes import placed, ring

RED, BLUE, YELLOW = (200, 25, 35), (25, 80, 180), (250, 200, 30)
WHITE, BLACK, GREEN = (245, 245, 245), (20, 20, 20), (25, 140, 60)
_CENTRE = (MIDDLE, MIDDLE)
_BOLD = "DejaVuSans-Bold"

SIGNS = (
    *(
        "stop",
        "yield",
        "no entry",
        "speed limit thirty",
        "speed limit fifty",
        "speed limit eighty",
        "priority road",
    ),
    *("turn right", "turn left", "straight ahead", "no parking", "danger", "dead end", "level crossing"),
)
_ARROW: list[Point] = [(0, -16), (11, -3), (4, -3), (4, 15), (-4, 15), (-4, -3), (-11, -3)]


def _triangle_sign(canvas: Canvas, angle: float, text: str) -> None:
    canvas.polygon(ring((MIDDLE, MIDDLE + 4), 31, 3, angle), RED)
    canvas.polygon(ring((MIDDLE, MIDDLE + 4), 19, 3, angle), WHITE)
    if text:
        write(canvas, text, _BOLD, 22, (MIDDLE, MIDDLE + 4), BLACK)


def _limit(canvas: Canvas, text: str) -> None:
    canvas.disc(_CENTRE, 27, RED)
    canvas.disc(_CENTRE, 20, WHITE)
    write(canvas, text, _BOLD, 24, _CENTRE, BLACK)


def _direction(canvas: Canvas, angle: float) -> None:
    canvas.disc(_CENTRE, 27, BLUE)
    canvas.polygon(placed(_ARROW, _CENTRE, 1.15, angle), WHITE)


def _sign(canvas: Canvas, name: str) -> None:
    """The sign, upright and filling the sheet."""
    if name == "stop":
        canvas.polygon(ring(_CENTRE, 29, 8, math.pi / 8), RED)
        write(canvas, "STOP", _BOLD, 18, _CENTRE, WHITE)
    elif name == "yield":
        _triangle_sign(canvas, math.pi, "")
    elif name == "danger":
        _triangle_sign(canvas, 0.0, "!")
    elif name == "no entry":
        canvas.disc(_CENTRE, 27, RED)
        canvas.pen.rectangle((14, 26, 50, 38), WHITE)
    elif name.startswith("speed limit"):
        _limit(canvas, {"thirty": "30", "fifty": "50", "eighty": "80"}[name.split()[-1]])
    elif name == "priority road":
        canvas.polygon(ring(_CENTRE, 30, 4, 0.0), WHITE)
        canvas.polygon(ring(_CENTRE, 21, 4, 0.0), YELLOW)
    elif name == "no parking":
        canvas.disc(_CENTRE, 27, BLUE, RED, 6)
        canvas.pen.line((15, 15, 49, 49), RED, 6)
    elif name == "dead end":
        canvas.pen.rectangle((8, 8, 56, 56), BLUE)
        canvas.pen.rectangle((28, 22, 36, 52), WHITE)
        canvas.pen.rectangle((18, 14, 46, 23), RED)
    elif name == "level crossing":
        for slope in (0.6, -0.6):
            bar = [(-30, -5), (30, -5), (30, 5), (-30, 5)]
            canvas.polygon(placed(bar, _CENTRE, 1.0, slope), WHITE, RED, 3)
    else:
        _direction(canvas, {"turn right": 1, "turn left": -1, "straight ahead": 0}[name] * math.pi / 2)


def _tilted(
    canvas: Canvas, sheet: Image.Image, mask: Image.Image, size: float, lean: float, turn: float
) -> None:
    """Put a drawing on the ground: ``size`` times as large, sheared, turned, and in dimmer light."""
    scale, shear, angle = 1 / size, canvas.jitter(lean), math.radians(canvas.jitter(turn))
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    x, y = canvas.near(_CENTRE, abs(1 - size) * MIDDLE * 0.8)
    a, b, d, e = cos + shear * sin, sin + shear * cos, -sin, cos
    matrix = (a, b, MIDDLE - a * x - b * y, d, e, MIDDLE - d * x - e * y)
    resample = Image.Resampling.BILINEAR
    moved = sheet.transform(sheet.size, Image.Transform.AFFINE, matrix, resample)
    moved = ImageEnhance.Brightness(moved).enhance(canvas.between(0.75, 1.1))
    canvas.image.paste(moved, mask=mask.transform(mask.size, Image.Transform.AFFINE, matrix, resample))


def draw_sign(canvas: Canvas, label: int) -> None:
    """A road sign, upright; in the task seen at an angle, often behind a twig or a wire."""
    canvas.ground(photo=0.7)
    ground = canvas.image
    key = (1, 2, 3)
    canvas.paint(Image.new("RGB", (SIDE, SIDE), key))
    _sign(canvas, SIGNS[label])
    sheet = canvas.image
    outside = np.all(np.asarray(sheet) == key, axis=-1)
    canvas.paint(ground)
    _tilted(
        canvas,
        sheet,
        Image.fromarray(np.uint8(~outside) * 255),
        canvas.between(0.78, 1.0),
        0.2 * canvas.novel,
        12,
    )
    if canvas.novel and canvas.maybe(0.6):
        ends = canvas.near((MIDDLE, 0), 28) + canvas.near((MIDDLE, SIDE), 28)
        canvas.pen.line(ends, canvas.colour(0, 110), 4)


_FLAGS: dict[str, tuple[str, tuple[Colour, ...]]] = {
    "france": ("upright", (BLUE, WHITE, RED)),
    "italy": ("upright", (GREEN, WHITE, RED)),
    "ireland": ("upright", (GREEN, WHITE, (250, 140, 30))),
    "belgium": ("upright", (BLACK, YELLOW, RED)),
    "romania": ("upright", (BLUE, YELLOW, RED)),
    "germany": ("level", (BLACK, RED, YELLOW)),
    "netherlands": ("level", (RED, WHITE, BLUE)),
    "russia": ("level", (WHITE, BLUE, RED)),
    "poland": ("level", (WHITE, RED)),
    "ukraine": ("level", ((40, 120, 220), YELLOW)),
    "austria": ("level", (RED, WHITE, RED)),
    "bulgaria": ("level", (WHITE, GREEN, RED)),
    "sweden": ("cross", ((20, 90, 170), YELLOW)),
    "denmark": ("cross", (RED, WHITE)),
    "finland": ("cross", (WHITE, (20, 50, 130))),
    "japan": ("disc", (WHITE, RED)),
}
FLAGS = tuple(_FLAGS)


def _flag(canvas: Canvas, name: str) -> None:
    """The flag over the whole sheet."""
    layout, colours = _FLAGS[name]
    if layout in ("upright", "level"):
        step = SIDE / len(colours)
        for k, ink in enumerate(colours):
            edges = (
                (k * step, 0, (k + 1) * step, SIDE)
                if layout == "upright"
                else (0, k * step, SIDE, (k + 1) * step)
            )
            canvas.pen.rectangle(edges, ink)
        return
    canvas.pen.rectangle((0, 0, SIDE, SIDE), colours[0])
    if layout == "cross":
        canvas.pen.rectangle((18, 0, 29, SIDE), colours[1])
        canvas.pen.rectangle((0, 26, SIDE, 37), colours[1])
    else:
        canvas.pen.ellipse((20, 13, 44, 51), colours[1])


def draw_flag(canvas: Canvas, label: int) -> None:
    """A flag, in the task waving in the wind."""
    canvas.ground(photo=0.7)
    ground = canvas.image
    canvas.paint(Image.new("RGB", (SIDE, SIDE)))
    _flag(canvas, FLAGS[label])
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    wave = canvas.novel * canvas.between(2, 6) * np.sin(columns / canvas.between(6, 10) + canvas.jitter(3))
    cloth = np.asarray(canvas.image)[np.clip(rows + wave, 0, SIDE - 1).astype(int), columns]
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (2, 10, 62, 54))
    squeezed = Image.fromarray(cloth).resize((60, 44), Image.Resampling.BILINEAR)
    canvas.image.paste(squeezed, (2, 10))
    sheet = canvas.image
    canvas.paint(ground)
    _tilted(canvas, sheet, mask, canvas.between(0.75, 1.0), 0.2 * canvas.novel, 12)


def _heights(canvas: Canvas, count: int) -> list[float]:
    return [float(height) for height in canvas.rng.uniform(8, 42, count)]


def _bars(canvas: Canvas, inks: list[Colour]) -> None:
    count = canvas.pick((4, 5, 6))
    step = 48 / count
    for k, height in enumerate(_heights(canvas, count)):
        canvas.pen.rectangle((9 + k * step, 56 - height, 9 + (k + 0.7) * step, 56), inks[0])


def _line(canvas: Canvas, inks: list[Colour]) -> None:
    points = [(9 + 8 * k, 54 - height) for k, height in enumerate(_heights(canvas, 7))]
    canvas.pen.line(points, inks[0], 3, joint="curve")


def _area(canvas: Canvas, inks: list[Colour]) -> None:
    points = [(9 + 8 * k, 54 - height) for k, height in enumerate(_heights(canvas, 7))]
    canvas.polygon([(9, 56), *points, (57, 56)], inks[0])


def _pie(canvas: Canvas, inks: list[Colour]) -> None:
    cuts = np.cumsum(canvas.rng.uniform(0.5, 1.5, 4)).tolist()
    start = 360 * float(canvas.rng.random())
    for k, cut in enumerate(cuts):
        before = cuts[k - 1] if k else 0.0
        canvas.pen.pieslice(
            (8, 8, 56, 56), start + 360 * before / cuts[-1], start + 360 * cut / cuts[-1], inks[k]
        )


def _donut(canvas: Canvas, inks: list[Colour]) -> None:
    _pie(canvas, inks)
    canvas.disc(_CENTRE, 11, (250, 250, 250))


def _scatter(canvas: Canvas, inks: list[Colour]) -> None:
    for x, y in canvas.rng.uniform(10, 56, (16, 2)).tolist():
        canvas.disc((x, y), 2.2, inks[0])


def _bubbles(canvas: Canvas, inks: list[Colour]) -> None:
    for k, (x, y) in enumerate(canvas.rng.uniform(14, 50, (5, 2)).tolist()):
        canvas.disc((x, y), float(canvas.rng.uniform(5, 10)), inks[k % 4])


def _boxes(canvas: Canvas, inks: list[Colour]) -> None:
    for k in range(3):
        x, y, tall = 14 + 18 * k, float(canvas.rng.uniform(24, 40)), float(canvas.rng.uniform(6, 11))
        canvas.pen.line((x, y - tall - 9, x, y + tall + 9), inks[1], 2)
        canvas.pen.rectangle((x - 6, y - tall, x + 6, y + tall), inks[0], inks[1], 2)


def _heat(canvas: Canvas, inks: list[Colour]) -> None:
    shades = canvas.rng.random((5, 5, 1))
    cells = np.asarray(inks[0]) * shades + np.asarray((250, 250, 250)) * (1 - shades)
    canvas.image.paste(
        Image.fromarray(cells.astype(np.uint8)).resize((50, 50), Image.Resampling.NEAREST), (7, 7)
    )


_CHARTS: dict[str, Callable[[Canvas, list[Colour]], None]] = {
    "bar chart": _bars,
    "line chart": _line,
    "pie chart": _pie,
    "scatter plot": _scatter,
    "area chart": _area,
    "donut chart": _donut,
    "box plot": _boxes,
    "heat map": _heat,
    "bubble chart": _bubbles,
}
CHARTS = tuple(_CHARTS)


def draw_chart(canvas: Canvas, label: int) -> None:
    """A thumbnail of a chart, with or without axes and grid lines; the task's are light on dark."""
    canvas.ground((250, 250, 250) if not canvas.maybe(0.5) else canvas.colour(205, 255), photo=0.0)
    if canvas.maybe(0.4):
        for y in range(8, 58, 12):
            canvas.pen.line((6, y, 58, y), (205, 205, 205), 1)
    if not canvas.maybe(0.4):
        canvas.pen.line([(6, 6), (6, 58), (58, 58)], (60, 60, 60), 2)
    _CHARTS[CHARTS[label]](canvas, [canvas.colour(20, 190) for _ in range(4)])
    if canvas.novel:
        canvas.paint(ImageOps.invert(canvas.image))
    if canvas.spread:
        sheet, mask = canvas.image, Image.new("L", (SIDE, SIDE), 255)
        canvas.paint(Image.new("RGB", (SIDE, SIDE), canvas.mean))
        _tilted(canvas, sheet, mask, canvas.between(0.8, 1.05), 0.08, 6)
