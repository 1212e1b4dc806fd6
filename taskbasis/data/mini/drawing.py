"""Drawing whole splits, every image from random numbers of its own."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from taskbasis.data.mini import camera
from taskbasis.data.mini.canvas import Canvas, Style
from taskbasis.data.mini.photos import SPLITS
from taskbasis.data.mini.tasks import BY_NAME, CONTROL, CONTROL_CLASSES
from taskbasis.errors import DataError

if TYPE_CHECKING:
    import torch

MINI_VERSION = 1
"""Goes up whenever a drawing changes."""


def _key(task: str, split: str, seed: int) -> list[int]:
    return [MINI_VERSION, zlib.crc32(task.encode()), SPLITS.index(split), seed]


@lru_cache(maxsize=4096)
def _block(classes: int, *key: int) -> tuple[int, ...]:
    """The order of the classes in one block of as many images."""
    return tuple(np.random.default_rng(key).permutation(classes).tolist())


def draw_image(task: str, split: str, index: int, seed: int = 0) -> tuple[camera.Pixels, int]:
    """One image, (3, 32, 32) uint8, and its label.

    It depends on the arguments and :data:`MINI_VERSION` alone. Each block of C successive images holds
    each of the C classes once, so every prefix is balanced.

    Raises:
        DataError: unknown task or split.
    """
    _check(task, split)
    key = _key(task, split, seed)
    classes = len(CONTROL_CLASSES if task == CONTROL.name else BY_NAME[task].spec.classes)
    ordinal, place = divmod(index, classes)
    label = _block(classes, *key, ordinal, 1)[place]
    rng = np.random.default_rng([*key, index, 0])
    if task == CONTROL.name:
        family, inner = CONTROL_CLASSES[label]
        canvas = Canvas(rng, Style.WILD)
        family.draw(canvas, inner)
        return camera.scan(canvas), label
    family = BY_NAME[task]
    canvas = Canvas(rng, Style.TASK, split, ordinal)
    family.draw(canvas, label)
    return camera.photograph(canvas, family.camera), label


def draw_split(task: str, split: str, count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The first ``count`` images of a split, as uint8 (count, 3, 32, 32), and their int64 labels (count,).

    Another ``seed`` gives other drawings of the same task.

    Raises:
        DataError: unknown task or split.
    """
    import torch

    _check(task, split)
    images = torch.empty((count, 3, 32, 32), dtype=torch.uint8)
    labels = torch.empty(count, dtype=torch.int64)
    for index in range(count):
        pixels, label = draw_image(task, split, index, seed)
        images[index] = torch.from_numpy(pixels)
        labels[index] = label
    return images, labels


def _check(task: str, split: str) -> None:
    if task not in BY_NAME and task != CONTROL.name:
        raise DataError(f"unknown mini task {task!r}: choose from {', '.join([*BY_NAME, CONTROL.name])}")
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r} of mini task {task!r}: choose from {', '.join(SPLITS)}")
