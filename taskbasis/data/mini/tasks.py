"""The table of the suite: what each task is called, how it is prompted and who draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taskbasis.data.mini import camera, glyphs, panels, patterns, pictograms, scans, scenes, shapes
from taskbasis.data.mini.canvas import Canvas
from taskbasis.data.suite import TaskSpec

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True)
class Family:
    """One kind of drawing: a task, and the captions its drawings have in pre-training."""

    spec: TaskSpec
    captions: tuple[str, ...]
    """Caption templates of pre-training; the first one also names the family's classes in the control set."""
    draw: Callable[[Canvas, int], None]
    """Draws the class with this label on a canvas."""
    camera: camera.Camera
    """What photographs the task's drawings."""
    share: float = 1.0
    """Relative number of its drawings in pre-training, beside the root of its number of classes."""


def _family(
    name: str,
    classes: tuple[str, ...],
    templates: tuple[str, ...],
    captions: tuple[str, ...],
    draw: Callable[[Canvas, int], None],
    camera: camera.Camera,
    share: float = 1.0,
) -> Family:
    return Family(TaskSpec(name, classes, templates), captions, draw, camera, share)


FAMILIES: tuple[Family, ...] = (
    _family(
        "handwriting",
        ("zero", *NUMBERS[:9]),
        ("a handwritten digit {}.", "the number {}.", "a scan of the digit {}."),
        ("the digit {}.", "the number {}."),
        scans.draw_handwriting,
        camera.OLD_FILM,
        share=2.0,
    ),
    _family(
        "charts",
        panels.CHARTS,
        ("a {}.", "a figure with a {}.", "a {} in a report."),
        ("a {}.", "a {} of data."),
        panels.draw_chart,
        camera.TELEVISION,
    ),
    _family(
        "letters",
        tuple(glyphs.LETTERS.lower()),
        ("the capital letter {}.", "a photo of the letter {}.", "the letter {} in print."),
        ("the capital letter {}.", "the letter {}."),
        glyphs.draw_letter,
        camera.NIGHT,
        share=2.0,
    ),
    _family(
        "shapes",
        shapes.SHAPES,
        ("a {}.", "a photo of a {}.", "a {} shape."),
        ("a {}.", "a {} shape."),
        shapes.draw_shape,
        camera.UNDER_WATER,
        share=1.5,
    ),
    _family(
        "textures",
        patterns.TEXTURES,
        ("a texture of {}.", "a {} pattern.", "a photo of {}."),
        ("a {} pattern.", "a texture of {}."),
        patterns.draw_texture,
        camera.TELEVISION,
    ),
    _family(
        "signs",
        panels.SIGNS,
        ("a {} sign.", "a photo of a {} road sign.", "a {} traffic sign."),
        ("a {} sign.", "a {} traffic sign."),
        panels.draw_sign,
        camera.FADED,
    ),
    _family(
        "weather",
        pictograms.WEATHER,
        ("{} weather.", "a forecast of {} weather.", "the weather is {}."),
        ("{} weather.", "the weather is {}."),
        pictograms.draw_weather,
        camera.FADED,
        share=0.5,
    ),
    _family(
        "counting",
        NUMBERS[:6],
        ("{} objects.", "a picture with {} things.", "there are {} dots."),
        ("{} dots.", "{} objects."),
        shapes.draw_count,
        camera.NIGHT,
        share=2.0,
    ),
    _family(
        "clocks",
        NUMBERS,
        ("a clock at {}.", "{} o'clock.", "a photo of a clock showing {}."),
        ("a clock showing {}.", "{} o'clock."),
        pictograms.draw_clock,
        camera.NIGHT,
        share=2.0,
    ),
    _family(
        "colours",
        tuple(shapes.COLOURS),
        ("a {} object.", "something {}.", "a photo of a {} thing."),
        ("a {} object.", "something {}."),
        shapes.draw_colour,
        camera.TELEVISION,
    ),
    _family(
        "arrows",
        ("north", "north east", "east", "south east", "south", "south west", "west", "north west"),
        ("an arrow pointing {}.", "a sign pointing {}.", "this way {}."),
        ("an arrow pointing {}.", "{} arrow."),
        shapes.draw_arrow,
        camera.FADED,
        share=1.5,
    ),
    _family(
        "greek",
        (
            *(
                "alpha",
                "beta",
                "gamma",
                "delta",
                "epsilon",
                "zeta",
                "eta",
                "theta",
                "iota",
                "kappa",
                "lambda",
            ),
            *("mu", "nu", "xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"),
        ),
        ("the greek letter {}.", "a small greek letter {}.", "{} in a formula."),
        ("the greek letter {}.", "a small greek letter {}."),
        glyphs.draw_greek,
        camera.UNDER_WATER,
        share=1.5,
    ),
    _family(
        "flags",
        panels.FLAGS,
        ("the flag of {}.", "a photo of the flag of {}.", "a waving flag of {}."),
        ("the flag of {}.", "{} flag."),
        panels.draw_flag,
        camera.OLD_FILM,
    ),
    _family(
        "faces",
        pictograms.FACES,
        ("a {} face.", "a photo of a {} person.", "a {} emoticon."),
        ("a {} face.", "a {} smiley."),
        pictograms.draw_face,
        camera.UNDER_WATER,
        share=1.5,
    ),
    _family(
        "symbols",
        (
            *("plus", "minus", "times", "division", "equals", "not equal", "less or equal", "infinity"),
            *("integral", "summation", "product", "square root", "partial", "nabla", "element of", "union"),
            *("intersection", "for all", "there exists", "empty set"),
        ),
        ("the {} symbol.", "a {} sign in a formula.", "mathematics: {}."),
        ("the {} symbol.", "the mathematical {} sign."),
        glyphs.draw_symbol,
        camera.TELEVISION,
    ),
    _family(
        "chess",
        tuple(
            f"{side} {piece}"
            for side in ("white", "black")
            for piece in ("king", "queen", "rook", "bishop", "knight", "pawn")
        ),
        ("a {} chess piece.", "a {} on a board.", "the {}."),
        ("a {} chess piece.", "the {}."),
        glyphs.draw_chess,
        camera.OLD_FILM,
        share=0.5,
    ),
    _family(
        "scripts",
        tuple(glyphs.SCRIPTS),
        ("{} writing.", "a word in {} script.", "a photo of {} text."),
        ("{} writing.", "{} script."),
        glyphs.draw_script,
        camera.UNDER_WATER,
        share=3.0,
    ),
    _family(
        "gratings",
        (
            *("horizontal", "shallow rising", "diagonal rising", "steep rising"),
            *("vertical", "steep falling", "diagonal falling", "shallow falling"),
        ),
        ("{} stripes.", "a {} grating.", "lines that are {}."),
        ("{} stripes.", "{} lines."),
        patterns.draw_grating,
        camera.FADED,
        share=0.5,
    ),
    _family(
        "landscapes",
        scenes.LANDSCAPES,
        ("a landscape with {}.", "a photo of {}.", "a view of {}."),
        ("a landscape with {}.", "a view of {}."),
        scenes.draw_landscape,
        camera.OLD_FILM,
        share=0.5,
    ),
    _family(
        "corruptions",
        scans.CORRUPTIONS,
        ("a {} photo.", "a {} image.", "this picture is {}."),
        ("a {} image.", "a {} picture."),
        scans.draw_corruption,
        camera.NIGHT,
        share=1.5,
    ),
)
BY_NAME = {family.spec.name: family for family in FAMILIES}
TASKS = tuple(family.spec for family in FAMILIES)

CONTROL_CLASSES: tuple[tuple[Family, int], ...] = tuple(
    (family, part * len(family.spec.classes) // 3) for family in FAMILIES for part in range(3)
)
"""The control's classes: three of every family, spread over its labels."""
CONTROL = TaskSpec(
    "mixture",
    tuple(
        family.captions[0].format(family.spec.classes[label]).rstrip(".") for family, label in CONTROL_CLASSES
    ),
    ("{}.", "a picture of {}."),
)
