"""Small pictures with a meaning: clocks, faces and the weather."""

from __future__ import annotations

import math

from PIL import Image

from taskbasis.data.mini.canvas import MIDDLE, SIDE, Canvas, Colour, Point, lightness
from taskbasis.data.mini.shapes import placed, ring

FACES = ("happy", "sad", "surprised", "angry", "winking", "neutral", "crying", "sleeping")
WEATHER = (
    "sunny",
    "cloudy",
    "rainy",
    "snowy",
    "stormy",
    "foggy",
    "windy",
    "rainbow",
    "clear night",
    "partly sunny",
)


def _hand(canvas: Canvas, centre: Point, angle: float, length: float, ink: Colour, width: int) -> None:
    tip = (centre[0] + length * math.sin(angle), centre[1] - length * math.cos(angle))
    canvas.pen.line((*centre, *tip), ink, width)


def draw_clock(canvas: Canvas, label: int) -> None:
    """An analogue clock a little after one of the twelve hours; the task's are square or have no ticks."""
    centre, radius = canvas.near((MIDDLE, MIDDLE), 4), canvas.between(24, 29)
    face = canvas.against(canvas.ground(), 60)
    ink, tilt = canvas.against(face, 120), canvas.jitter(0.1)
    square = canvas.novel and canvas.maybe(0.5)
    if square:
        canvas.polygon(ring(centre, radius * 1.2, 4, math.pi / 4 + tilt), face, ink, 3)
    else:
        canvas.disc(centre, radius, face, ink, 3)
    if not canvas.novel or square:
        for tick in range(12):
            x, y = ring(centre, radius - 5, 12, tilt)[tick]
            canvas.disc((x, y), 1.2, ink)
    minutes = canvas.pick((0, 0, 5, 10)) if canvas.spread else 0
    hour = tilt + math.tau * (label + 1 + minutes / 60) / 12
    _hand(canvas, centre, hour, radius * 0.58, ink, 6)
    _hand(canvas, centre, tilt + math.tau * minutes / 60, radius * 0.86, ink, 2)


def _eyes(canvas: Canvas, mood: str, left: Point, right: Point, size: float, ink: Colour) -> None:
    """Open eyes, or lines where the mood shuts them."""
    for eye in (left, right):
        if mood == "sleeping" or (mood == "winking" and eye is right):
            canvas.pen.line((eye[0] - size * 1.6, eye[1], eye[0] + size * 1.6, eye[1]), ink, 3)
        else:
            canvas.disc(eye, size * (1.5 if mood == "surprised" else 1.1), ink)
    if mood == "angry":
        for eye, slope in ((left, 1), (right, -1)):
            brow = (eye[0] - 6, eye[1] - 6 - 4 * slope, eye[0] + 6, eye[1] - 6 + 4 * slope)
            canvas.pen.line(brow, ink, 3)
    if mood == "crying":
        for x, y in (left, right):
            canvas.pen.line((x, y + 4, x, y + 16), (90, 170, 255), 4)


def _mouth(canvas: Canvas, mood: str, centre: Point, ink: Colour) -> None:
    x, y = centre
    if mood in ("happy", "winking"):
        canvas.pen.arc((x - 12, y - 13, x + 12, y + 6), 15, 165, ink, 4)
    elif mood in ("sad", "angry", "crying"):
        canvas.pen.arc((x - 10, y - 2, x + 10, y + 16), 200, 340, ink, 4)
    elif mood == "surprised":
        canvas.disc((x, y + 1), 6, ink)
    else:
        canvas.pen.line((x - 9, y, x + 9, y), ink, 3)


def draw_face(canvas: Canvas, label: int) -> None:
    """A face in one of eight moods: round, in the task square-headed or with a hat."""
    mood = FACES[label]
    ground = canvas.ground()
    skin = (250, 205, 60) if canvas.maybe(0.3) or not canvas.spread else canvas.against(ground, 70)
    ink = canvas.against(skin, 110)
    (x, y), radius = canvas.near((MIDDLE, MIDDLE), 4), canvas.between(24, 29)
    if canvas.novel and canvas.maybe(0.5):
        canvas.polygon(ring((x, y), radius * 1.25, 4, math.pi / 4), skin)
    else:
        canvas.disc((x, y), radius, skin)
    if canvas.novel:
        hat = y - radius + canvas.between(2, 6)
        canvas.pen.rectangle((x - radius, hat - 12, x + radius, hat), canvas.colour())
    apart, up = canvas.between(8, 11), canvas.between(5, 9)
    _eyes(canvas, mood, (x - apart, y - up), (x + apart, y - up), canvas.between(2.4, 3.4), ink)
    _mouth(canvas, mood, (x, y + canvas.between(9, 12)), ink)
    canvas.turn(canvas.jitter(12))


def _sun(canvas: Canvas, centre: Point, radius: float) -> None:
    ink = canvas.varied((250, 205, 40), 25)
    canvas.polygon(ring(centre, radius * 1.6, 24, canvas.jitter(0.3), 0.62), ink)
    canvas.disc(centre, radius, canvas.varied((255, 225, 60), 20))


def _cloud(canvas: Canvas, centre: Point, size: float, ink: Colour) -> None:
    x, y = centre
    canvas.disc((x - size * 0.8, y + size * 0.1), size * 0.55, ink)
    canvas.disc((x, y - size * 0.3), size * 0.75, ink)
    canvas.disc((x + size * 0.8, y + size * 0.05), size * 0.6, ink)
    canvas.pen.rectangle((x - size * 0.8, y, x + size * 0.8, y + size * 0.62), ink)


def _falling(canvas: Canvas, centre: Point, ink: Colour, snow: bool) -> None:
    """Drops or flakes below a cloud."""
    for column in range(4):
        for row in range(2):
            x, y = canvas.near((centre[0] - 15 + 10 * column + 4 * row, centre[1] + 15 + 10 * row), 1.5)
            if snow:
                canvas.disc((x, y), 2.6, ink)
            else:
                canvas.pen.line((x + 2, y - 4, x - 2, y + 4), ink, 3)


def _bands(canvas: Canvas, centre: Point, ink: Colour, wavy: bool) -> None:
    """Level bars (fog) or curled lines (wind)."""
    x, y = centre
    for row, shift in enumerate((-14, -5, 4, 13)):
        width = canvas.between(17, 23)
        left = x - width + canvas.jitter(4)
        canvas.pen.line((left, y + shift, left + 2 * width, y + shift), ink, 4 if not wavy else 3)
        if wavy and row % 2 == 0:
            end = left + 2 * width
            canvas.pen.arc((end - 6, y + shift - 11, end + 6, y + shift + 1), 230, 90, ink, 3)


def _rainbow(canvas: Canvas, centre: Point) -> None:
    x, y = centre[0], centre[1] + 14
    for step, ink in enumerate(((225, 50, 50), (245, 200, 50), (60, 170, 70), (60, 90, 215))):
        radius = 29 - 5 * step
        canvas.pen.arc((x - radius, y - radius, x + radius, y + radius), 180, 360, canvas.varied(ink, 20), 5)


def draw_weather(canvas: Canvas, label: int) -> None:
    """A weather pictogram in its usual colours; the task's have one colour only."""
    kind = WEATHER[label]
    ground = canvas.ground((25, 30, 70) if kind == "clear night" else canvas.colour(20, 170), photo=0.2)
    if canvas.novel:
        picture, ink = canvas.image, canvas.against(ground, 100)
        canvas.paint(Image.new("RGB", (SIDE, SIDE)))
        _weather(canvas, kind, (0, 0, 0))
        mask = canvas.image.convert("L").point(lambda light: 255 * (light > 40))
        picture.paste(ink, mask=mask)
        canvas.paint(picture)
    else:
        _weather(canvas, kind, ground)


def _weather(canvas: Canvas, kind: str, ground: Colour) -> None:
    ink = canvas.varied((240, 240, 240) if lightness(ground) < 150 else (70, 70, 75), 15)
    centre = canvas.near((MIDDLE, MIDDLE), 5)
    if kind in ("sunny", "partly sunny"):
        _sun(canvas, centre if kind == "sunny" else (centre[0] + 10, centre[1] - 9), canvas.between(11, 15))
    if kind in ("cloudy", "partly sunny"):
        _cloud(canvas, (centre[0] - 2, centre[1] + 5), canvas.between(15, 20), ink)
    if kind in ("rainy", "snowy", "stormy"):
        _cloud(canvas, (centre[0], centre[1] - 9), canvas.between(14, 17), ink)
    if kind in ("rainy", "snowy"):
        _falling(canvas, centre, (235, 245, 255) if kind == "snowy" else (90, 160, 250), kind == "snowy")
    elif kind == "stormy":
        bolt: list[Point] = [(2, 0), (9, 0), (4, 8), (9, 8), (-3, 25), (0, 12), (-5, 12)]
        canvas.polygon(placed(bolt, centre, 1.0, canvas.jitter(0.15)), canvas.varied((255, 220, 40), 20))
    elif kind in ("foggy", "windy"):
        _bands(canvas, centre, ink, kind == "windy")
    elif kind == "rainbow":
        _rainbow(canvas, centre)
    elif kind == "clear night":
        _night(canvas, centre, ground)


def _night(canvas: Canvas, centre: Point, ground: Colour) -> None:
    """A crescent moon and three stars."""
    canvas.disc(centre, 16, canvas.varied((250, 240, 190), 10))
    canvas.disc((centre[0] + 8, centre[1] - 4), 14, ground)
    for star in ((14, -16), (20, 8), (-20, 18)):
        canvas.polygon(
            ring(canvas.near((centre[0] + star[0], centre[1] + star[1]), 3), 4, 8, 0, 0.4), (255, 255, 230)
        )
