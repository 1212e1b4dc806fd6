"""The mini suite as the rest of the framework sees it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from taskbasis.data.mini import (
    CONTROL,
    CONTROL_SIZES,
    MINI_VERSION,
    SIZES,
    TASKS,
    draw_split,
    drawing_changes,
)
from taskbasis.data.pixels import PIXELS, Pixels
from taskbasis.data.preprocess import Preprocess
from taskbasis.data.suite import WHOLE, TaskSpec, TrainingSet
from taskbasis.errors import ConfigError
from taskbasis.store import Artifact, StageKey, Store, digest

_log = logging.getLogger(__name__)
IMAGE_SIZE = 32
"""Height and width of every image in pixels."""


@dataclass(frozen=True)
class DrawingKey(StageKey):
    """Key of the drawings of one split of one task."""

    STAGE: ClassVar[str] = "drawing"
    VERSION: ClassVar[int] = 1
    suite_version: int
    task: str
    split: str
    count: int
    seed: int


@dataclass(frozen=True)
class MiniSuite:
    """Twenty small drawn tasks and a control, made on the machine; see ``docs/mini-suite.md``."""

    seed: int = 0
    """Seed of all drawings; 0 is the public suite."""
    shift: int = 2
    """Augmentation: training images are shifted by up to this many pixels, wrapping around."""
    name: str = "mini"

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise ConfigError(f"suite.shift={self.shift}: must be 0 or more pixels")

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """See :class:`~taskbasis.data.suite.Suite`."""
        return TASKS

    @property
    def control(self) -> TaskSpec:
        """See :class:`~taskbasis.data.suite.Suite`."""
        return CONTROL

    def fitted(self, preprocess: Preprocess) -> MiniSuite:
        """See :class:`~taskbasis.data.suite.Suite`."""
        if preprocess.image_size != IMAGE_SIZE:
            raise ConfigError(
                f"suite=mini has images of {IMAGE_SIZE} pixels, the model wants {preprocess.image_size}; "
                f"suite=vision fits it, or model=tiny fits the suite"
            )
        return self

    def files_state(self, tasks: Sequence[str]) -> str:
        """See :class:`~taskbasis.data.suite.Suite`; everything is drawn here."""
        return ""

    def pixels(self, store: Store, task: str, split: str) -> Artifact:
        """See :class:`~taskbasis.data.suite.Suite`; here ``train`` is stored in the same way."""
        sizes: Mapping[str, int] = CONTROL_SIZES if task == CONTROL.name else SIZES
        key = DrawingKey(MINI_VERSION, task, split, sizes[split], self.seed)

        def build(folder: Path) -> dict[str, Any]:
            published = _as_published(task)
            Pixels(*draw_split(task, split, sizes[split], self.seed)).save(folder)
            return {"drawn_as_published": published}

        return store.make(key, build)

    def training_set(self, store: Store, task: str) -> tuple[TrainingSet, str]:
        """See :class:`~taskbasis.data.suite.Suite`."""
        drawings = self.pixels(store, task, "train")
        identity = digest({"pixels": drawings.content, "shift": self.shift})
        return ShiftedPixels(Pixels.open(drawings.file(PIXELS)), self.shift), identity


@cache
def _as_published(task: str) -> bool:
    if (change := drawing_changes(task)) is not None:
        _log.warning("%s", change)
    return change is None


class ShiftedPixels:
    """Stored pixels, each image rolled by a random whole number of pixels in both directions."""

    def __init__(self, pixels: Pixels, shift: int) -> None:
        self._pixels, self._shift = pixels, shift

    def __len__(self) -> int:
        return len(self._pixels)

    @property
    def in_memory(self) -> bool:
        """See :class:`~taskbasis.data.suite.TrainingSet`."""
        return True

    def batch(
        self, indices: Tensor, generator: torch.Generator, part: slice = WHOLE
    ) -> tuple[Tensor, Tensor]:
        """See :class:`~taskbasis.data.suite.TrainingSet`."""
        images = self._pixels.images[indices]
        count, _, height, width = images.shape
        span = (-self._shift, self._shift + 1)
        down, right = torch.randint(*span, (2, count, 1, 1, 1), generator=generator)
        rows = (torch.arange(height).view(1, 1, -1, 1) - down) % height
        columns = (torch.arange(width).view(1, 1, 1, -1) - right) % width
        picture = torch.arange(count).view(-1, 1, 1, 1)
        channel = torch.arange(3).view(1, -1, 1, 1)
        return images[picture, channel, rows, columns][part], self._pixels.labels[indices][part]
