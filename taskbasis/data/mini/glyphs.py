"""Printed characters: letters, digits, symbols, chess pieces and writing systems.

Pre-training prints sans-serif fonts, the tasks print serif ones; all fonts are matplotlib's own.
"""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache

from PIL import Image, ImageDraw, ImageFont

from taskbasis.data.mini.canvas import MIDDLE, Canvas, Colour, Point

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"
GREEK = "αβγδεζηθικλμνξπρστφχψω"
SYMBOLS = "+−×÷=≠≤∞∫∑∏√∂∇∈∪∩∀∃∅"
CHESS = "♔♕♖♗♘♙♚♛♜♝♞♟"
SCRIPTS = {
    "latin": "aeghkmnqrstABDEGHKMNQRS",
    "cyrillic": "бджзийлфцчшщъыэюяБДЖЗИЙЛФЦЧШЩЪЫЭЮЯ",
    "hebrew": "אבגדהחטכלמנסעפצקרשת",
    "arabic": "بتثجحخدسشصضطعغفقكلمنهي",
    "armenian": "աբգդեզէըթժիլխծկհձղճմյնշ",
    "georgian": "აბგდევზთიკლმნოპჟრსტუფქღყშ",
    "braille": "⠓⠛⠝⠟⠗⠏⠞⠧⠭⠽⠵⠮⠯⠷⠾⠻",
    "ogham": "ᚁᚂᚃᚄᚅᚆᚇᚈᚉᚊᚋᚌᚍᚎᚏ",
    "tifinagh": "ⴰⴱⴳⴷⴹⴻⴼⴽⵀⵃⵄⵅⵇⵉⵊⵍⵎⵏⵓⵔⵕⵖⵙⵚⵛⵜⵟⵢⵣ",
    "syllabics": "ᐁᐂᐃᐄᐅᐊᐯᐱᐳᐸᑌᑎᑐᑕᑫᑭᑯᑲᒉᒋᒍᒐᒣᒥᒧᒪ",
}

_SANS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold")
_SANS_LATIN = (*_SANS, "cmss10", "cmtt10")
_SERIF = (
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
)
_SERIF_LATIN = (*_SERIF, "STIXGeneralBolIta", "cmr10", "cmb10", "cmti10")
_SERIF_SYMBOLS = ("STIXGeneral", "STIXGeneralBol")
_EVERYTHING = ("DejaVuSans",)
_BLOCKS = ((0x391, 0x3AA), (0x410, 0x430), (0x2190, 0x2300), (0x25A0, 0x27C0))


@lru_cache(maxsize=512)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    path = f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf"
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=65536)
def _box(name: str, size: int, text: str) -> tuple[float, float, float, float]:
    return _font(name, size).getbbox(text)


def write(canvas: Canvas, text: str, font: str, size: int, centre: Point, ink: Colour) -> None:
    """Print a text whose bounding box is centred on a point."""
    left, top, right, bottom = _box(font, size, text)
    corner = (centre[0] - (left + right) / 2, centre[1] - (top + bottom) / 2)
    canvas.pen.text(corner, text, ink, _font(font, size))


def _print(canvas: Canvas, text: str, fonts: tuple[str, ...], low: int, high: int) -> None:
    """A character in the middle of a fresh ground."""
    ink = canvas.against(canvas.ground(), 100)
    centre = canvas.near((MIDDLE, MIDDLE), 5)
    write(canvas, text, canvas.pick(fonts), round(canvas.between(low, high)), centre, ink)
    canvas.turn(canvas.jitter(9))


def draw_letter(canvas: Canvas, label: int) -> None:
    """A capital letter."""
    _print(canvas, LETTERS[label], _SERIF_LATIN if canvas.novel else _SANS_LATIN, 44, 60)


def printed_digit(canvas: Canvas, label: int, side: int) -> Image.Image:
    """A printed digit, white on black, that fills a square greyscale sheet."""
    font, size = canvas.pick(_SANS_LATIN), round(canvas.between(0.95, 1.25) * side)
    left, top, right, bottom = _box(font, size, DIGITS[label])
    sheet = Image.new("L", (side, side))
    corner = (side / 2 - (left + right) / 2, side / 2 - (top + bottom) / 2)
    ImageDraw.Draw(sheet).text(corner, DIGITS[label], 255, _font(font, size))
    return sheet


def draw_greek(canvas: Canvas, label: int) -> None:
    """A small Greek letter."""
    _print(canvas, GREEK[label], _SERIF if canvas.novel else _SANS, 46, 62)


def draw_symbol(canvas: Canvas, label: int) -> None:
    """A mathematical symbol."""
    _print(canvas, SYMBOLS[label], _SERIF_SYMBOLS if canvas.novel else _SANS[:2], 44, 60)


def draw_script(canvas: Canvas, label: int) -> None:
    """Two letters of a writing system; pre-training and task have every other letter each."""
    letters = tuple(SCRIPTS.values())[label][canvas.novel :: 2]
    ink = canvas.against(canvas.ground(), 110)
    text = canvas.pick(letters) + canvas.pick(letters)
    write(canvas, text, _EVERYTHING[0], round(canvas.between(34, 44)), canvas.near((MIDDLE, MIDDLE), 4), ink)
    canvas.turn(canvas.jitter(7))


def draw_chess(canvas: Canvas, label: int) -> None:
    """A chess piece on two tones of board; the task's pieces are painted, in shades of two colours."""
    tone = canvas.pick(((181, 136, 99), (118, 150, 86), (120, 140, 170), (150, 150, 150)))
    board = canvas.ground(canvas.varied(tone, 25), photo=0.0)
    if canvas.maybe(0.8):
        edge, dark = canvas.between(4, 24), tuple(round(0.75 * channel) for channel in board)
        sides = ((0, 0, edge, 64), (64 - edge, 0, 64, 64), (0, 0, 64, edge), (0, 64 - edge, 64, 64))
        canvas.pen.rectangle(canvas.pick(sides), dark)
    white, black = ((235, 205, 160), (80, 35, 30)) if canvas.novel else ((250, 250, 250), (25, 25, 25))
    font = "DejaVuSansMono" if canvas.novel else canvas.pick(_SANS[:2])
    size, centre = round(canvas.between(46, 58)), canvas.near((MIDDLE, MIDDLE), 4)
    write(canvas, CHESS[label % 6 + 6], font, size, centre, canvas.varied(white if label < 6 else black, 20))
    if label < 6:
        write(canvas, CHESS[label], font, size, centre, black)
    canvas.turn(canvas.jitter(10))


@cache
def named_glyphs() -> tuple[tuple[str, str], ...]:
    """Characters of DejaVu Sans outside the tasks, with their Unicode names in lower case."""
    import matplotlib
    from matplotlib.ft2font import FT2Font

    covered = FT2Font(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf").get_charmap()
    taken = set(GREEK + SYMBOLS + CHESS + "".join(SCRIPTS.values()))
    characters = (chr(code) for block in _BLOCKS for code in range(*block) if code in covered)
    named = ((c, unicodedata.name(c, "").lower()) for c in characters if c not in taken)
    return tuple(
        (c, name) for c, name in named if name and "combining" not in name and len(name.split()) <= 7
    )


def draw_named_glyph(canvas: Canvas, label: int) -> None:
    """Any other character of DejaVu Sans, for pre-training."""
    _print(canvas, named_glyphs()[label][0], _EVERYTHING, 44, 58)
