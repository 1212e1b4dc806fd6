"""The sheet every drawing starts on: random numbers, colours, grounds and a pen."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from functools import cache
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

from taskbasis.data.mini import photos

SIDE = 64
"""Side of the sheet in pixels; finished drawings are halved, which smooths their edges."""
MIDDLE = SIDE / 2

Colour = tuple[int, int, int]
Point = tuple[float, float]
Item = TypeVar("Item")


class Style(Enum):
    """How freely a drawing is made."""

    CLEAN = "clean"
    """Centred on a plain ground: pre-training only."""
    WILD = "wild"
    """Moved, turned, on a cluttered ground: pre-training and the control set."""
    TASK = "task"
    """As wild, in a variant and on photographs that pre-training never sees: the tasks."""


class Canvas:
    """One 64 x 64 drawing in the making, with its own random numbers.

    The style enters through :meth:`jitter`, :meth:`between`, :meth:`maybe` and :meth:`ground`, so that the
    drawing functions rarely ask for it. ``split`` and ``ordinal`` choose among real images.
    """

    def __init__(
        self, rng: np.random.Generator, style: Style, split: str = "train", ordinal: int = 0
    ) -> None:
        self.rng = rng
        self.style = style
        self.split = split
        self.ordinal = ordinal
        self.spread = {Style.CLEAN: 0.0, Style.WILD: rng.uniform(0.3, 1.2), Style.TASK: 1.0}[style]
        self.paint(Image.new("RGB", (SIDE, SIDE)))

    def paint(self, image: Image.Image) -> None:
        """Replace what is on the sheet by a 64 x 64 RGB image."""
        self.image = image
        self.pen = ImageDraw.Draw(image)

    def jitter(self, amount: float) -> float:
        """A number around zero, up to ``amount`` at the spread of the tasks; zero on a clean sheet."""
        return self.spread * float(self.rng.uniform(-amount, amount))

    def between(self, low: float, high: float) -> float:
        """A number between the two; their mean on a clean sheet."""
        return (low + high) / 2 + self.jitter((high - low) / 2)

    def maybe(self, probability: float) -> bool:
        """True with the given probability; never on a clean sheet."""
        return self.style is not Style.CLEAN and float(self.rng.random()) < probability

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[int(self.rng.integers(len(items)))]

    def near(self, point: Point, amount: float) -> Point:
        """The point, moved by up to ``amount`` pixels each way."""
        return point[0] + self.jitter(amount), point[1] + self.jitter(amount)

    def colour(self, low: int = 0, high: int = 255) -> Colour:
        """Any colour with channels between ``low`` and ``high``."""
        red, green, blue = self.rng.integers(low, high + 1, 3).tolist()
        return red, green, blue

    def varied(self, colour: Colour, amount: int) -> Colour:
        """The colour with each channel moved by up to ``amount``."""
        moved = self.rng.integers(-amount, amount + 1, 3) + colour
        red, green, blue = moved.clip(0, 255).tolist()
        return red, green, blue

    def against(self, other: Colour, contrast: float = 90.0) -> Colour:
        """A colour whose lightness differs from that of ``other`` by at least ``contrast`` of 255."""
        for _ in range(12):
            colour = self.colour()
            if abs(lightness(colour) - lightness(other)) >= contrast:
                return colour
        return (255, 255, 255) if lightness(other) < 128 else (0, 0, 0)

    def ground(self, base: Colour | None = None, photo: float = 0.3) -> Colour:
        """Cover the sheet and return its mean colour.

        A clean sheet is plain. Others may get a gradient, clouds, stray lines or, in the tasks and with
        probability ``photo``, a photograph.
        """
        base = self.colour() if base is None else base
        self.paint(Image.new("RGB", (SIDE, SIDE), base))
        if self.novel and self.maybe(photo):
            self.paint(photos.crop(self.rng, SIDE, self.split, contrast=0.5))
            return self.mean
        kind = float(self.rng.random()) if self.style is not Style.CLEAN else 1.0
        if kind < 0.3:
            ramp = self.pick(_ramps())
            self.paint(
                Image.composite(self.image, Image.new("RGB", (SIDE, SIDE), self.varied(base, 50)), ramp)
            )
        elif kind < 0.55:
            self.paint(clouds(self.rng, base, 45))
        elif kind < 0.75:
            self._stray_lines(base)
        return self.mean

    def _stray_lines(self, base: Colour) -> None:
        """Faint lines and ovals in about the ground's colour."""
        for _ in range(int(self.rng.integers(2, 6))):
            x0, y0, x1, y1 = self.rng.integers(-8, SIDE + 8, 4).tolist()
            ink = self.varied(base, 60)
            if self.rng.random() < 0.5:
                self.pen.line((x0, y0, x1, y1), ink, 2)
            else:
                self.pen.ellipse((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=ink, width=2)

    @property
    def novel(self) -> bool:
        """Whether to draw the variant that pre-training never sees."""
        return self.style is Style.TASK

    @property
    def mean(self) -> Colour:
        """The mean colour of the sheet."""
        red, green, blue = self.image.resize((1, 1), Image.Resampling.BOX).tobytes()
        return red, green, blue

    def polygon(
        self, points: Sequence[Point], fill: Colour | None, outline: Colour | None = None, width: int = 1
    ) -> None:
        """A closed polygon; outlines are drawn as lines with round corners."""
        if fill is not None:
            self.pen.polygon(points, fill)
        if outline is not None:
            self.pen.line([*points, points[0], points[1]], outline, width, joint="curve")

    def disc(
        self, centre: Point, radius: float, fill: Colour | None, outline: Colour | None = None, width: int = 1
    ) -> None:
        """A disc or a ring."""
        x, y = centre
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill, outline, width)

    def turn(self, degrees: float) -> None:
        """Turn the sheet about its middle; the corners take its mean colour."""
        if degrees:
            self.paint(self.image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=self.mean))


def lightness(colour: Colour) -> float:
    """Perceived lightness, 0 to 255."""
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def clouds(rng: np.random.Generator, base: Colour, amount: int, cells: int = 5) -> Image.Image:
    """A 64 x 64 sheet of soft blots around a colour."""
    blots = np.clip(rng.integers(-amount, amount + 1, (cells, cells, 3)) + base, 0, 255)
    return Image.fromarray(blots.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


@cache
def _ramps() -> tuple[Image.Image, ...]:
    """Masks that rise along one of six directions."""
    ramp = Image.linear_gradient("L")
    return tuple(
        ramp.rotate(angle, Image.Resampling.BILINEAR).resize((SIDE, SIDE)) for angle in range(0, 360, 60)
    )
