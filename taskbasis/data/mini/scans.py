"""Tasks made of real images: handwritten digits and damaged photographs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from taskbasis.data.mini import photos
from taskbasis.data.mini.canvas import SIDE, Canvas, clouds
from taskbasis.data.mini.glyphs import printed_digit
from taskbasis.data.mini.scenes import LANDSCAPES, draw_landscape
from taskbasis.data.mini.shapes import SHAPES, draw_shape

_DIGIT_SIDE = 56
_PAPER = (245, 245, 245)


def draw_handwriting(canvas: Canvas, label: int) -> None:
    """A handwritten digit in ink on a ground; in pre-training a printed one, often as coarse as the scans."""
    ink = canvas.against(canvas.ground(photo=0.0), 100)
    if canvas.novel:
        digit = photos.scan(label, canvas.split, canvas.ordinal)
    else:
        digit = _squeezed(canvas, printed_digit(canvas, label, _DIGIT_SIDE))
        digit = digit.reduce(7) if canvas.maybe(0.6) else digit
    mask = digit.resize((_DIGIT_SIDE, _DIGIT_SIDE), Image.Resampling.BICUBIC)
    x, y = canvas.near((4, 4), 4)
    canvas.image.paste(ink, (round(x), round(y)), mask.rotate(canvas.jitter(8), Image.Resampling.BILINEAR))


def _squeezed(canvas: Canvas, digit: Image.Image) -> Image.Image:
    """The digit with each corner of its sheet pulled elsewhere, as no two hands write alike."""
    end = _DIGIT_SIDE
    corners = [canvas.near(corner, 9) for corner in ((0, 0), (0, end), (end, end), (end, 0))]
    quadrilateral = tuple(number for corner in corners for number in corner)
    return digit.transform(digit.size, Image.Transform.QUAD, quadrilateral, Image.Resampling.BILINEAR)


def _noisy(canvas: Canvas, picture: Image.Image) -> Image.Image:
    grain = canvas.rng.integers(-120, 121, (SIDE // 2, SIDE // 2, 3)).repeat(2, 0).repeat(2, 1)
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def _striped(canvas: Canvas, picture: Image.Image) -> Image.Image:
    pixels = np.array(picture)
    pixels[np.arange(SIDE) % 8 < 3] //= 4
    return Image.fromarray(pixels)


def _spotted(canvas: Canvas, picture: Image.Image) -> Image.Image:
    pen = ImageDraw.Draw(picture)
    for x, y in canvas.rng.uniform(0, SIDE, (9, 2)).tolist():
        radius = canvas.between(3, 5)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), _PAPER)
    return picture


def _scratched(canvas: Canvas, picture: Image.Image) -> Image.Image:
    pen = ImageDraw.Draw(picture)
    for scratch in canvas.rng.uniform(0, SIDE, (7, 4)).tolist():
        pen.line(scratch, _PAPER, 2)
    return picture


def _torn(canvas: Canvas, picture: Image.Image) -> Image.Image:
    """One corner is gone."""
    reach = canvas.between(26, 40)
    x, y = canvas.pick(((0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)))
    ImageDraw.Draw(picture).polygon([(x, y), (abs(x - reach), y), (x, abs(y - reach))], _PAPER)
    return picture


def _crossed_out(canvas: Canvas, picture: Image.Image) -> Image.Image:
    pen, ink = ImageDraw.Draw(picture), canvas.varied((215, 30, 40), 20)
    for ends in (((8, 8), (56, 56)), ((56, 8), (8, 56))):
        pen.line([canvas.near(end, 6) for end in ends], ink, 5)
    return picture


def _framed(canvas: Canvas, picture: Image.Image) -> Image.Image:
    border = canvas.pick((_PAPER, (20, 20, 20)))
    ImageDraw.Draw(picture).rectangle((0, 0, SIDE - 1, SIDE - 1), None, border, 8)
    return picture


_DAMAGE: dict[str, Callable[[Canvas, Image.Image], Image.Image]] = {
    "clean": lambda canvas, picture: picture,
    "blurred": lambda canvas, picture: picture.filter(ImageFilter.BoxBlur(canvas.between(5, 8))),
    "noisy": _noisy,
    "pixelated": lambda canvas, picture: picture.reduce(16).resize((SIDE, SIDE), Image.Resampling.NEAREST),
    "striped": _striped,
    "spotted": _spotted,
    "scratched": _scratched,
    "framed": _framed,
    "torn": _torn,
    "crossed out": _crossed_out,
}
CORRUPTIONS = tuple(_DAMAGE)


def draw_corruption(canvas: Canvas, label: int) -> None:
    """A damaged photograph; in pre-training a damaged drawing."""
    if canvas.novel:
        picture = photos.crop(canvas.rng, SIDE, canvas.split)
    else:
        _draw_something(canvas)
        picture = canvas.image
    canvas.paint(_DAMAGE[CORRUPTIONS[label]](canvas, picture))


def _draw_something(canvas: Canvas) -> None:
    """What stands for a photograph in pre-training: clouds, a shape or a landscape."""
    kind = int(canvas.rng.integers(3))
    if kind == 0:
        canvas.paint(clouds(canvas.rng, canvas.colour(60, 200), 110, int(canvas.rng.integers(5, 16))))
    elif kind == 1:
        draw_shape(canvas, int(canvas.rng.integers(len(SHAPES))))
    else:
        draw_landscape(canvas, int(canvas.rng.integers(len(LANDSCAPES))))
