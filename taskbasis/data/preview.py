"""A contact sheet of the mini suite."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from taskbasis.data.mini import CONTROL, TASKS, draw_split
from taskbasis.store import write_bytes

_SCALE, _GAP, _LABEL = 2, 2, 110


def write_contact_sheet(path: Path, *, split: str, seed: int, columns: int) -> None:
    """Write a PNG with one row per task, the control last, its name at the left.

    Args:
        path: the file to write.
        split: ``train``, ``val`` or ``test`` (the control has no training images: ``val`` is shown).
        seed: seed of the drawings.
        columns: images per row.

    Raises:
        StoreError: if the file cannot be written.
    """
    tasks = [*TASKS, CONTROL]
    side = 32 * _SCALE + _GAP
    sheet = Image.new("RGB", (_LABEL + columns * side, len(tasks) * side), "white")
    pen = ImageDraw.Draw(sheet)
    font_file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    font = ImageFont.truetype(str(font_file), 15, layout_engine=ImageFont.Layout.BASIC)
    for row, task in enumerate(tasks):
        pen.text((4, row * side + side // 3), task.name, fill="black", font=font)
        shown = "val" if task is CONTROL and split == "train" else split
        images, _ = draw_split(task.name, shown, columns, seed)
        for column, image in enumerate(images):
            tile = Image.fromarray(image.permute(1, 2, 0).numpy())
            tile = tile.resize((32 * _SCALE, 32 * _SCALE), Image.Resampling.NEAREST)
            sheet.paste(tile, (_LABEL + column * side, row * side))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
