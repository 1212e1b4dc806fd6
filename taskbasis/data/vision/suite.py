"""The vision suite as the rest of the framework sees it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from taskbasis.data.pixels import PIXELS, Pixels
from taskbasis.data.preprocess import Preprocess
from taskbasis.data.suite import TaskSpec, TrainingSet
from taskbasis.data.vision.catalog import CONTROL, KINDS, TASKS, Dataset, dataset
from taskbasis.data.vision.images import Images, Transposed
from taskbasis.data.vision.readers import Reader, reader
from taskbasis.data.vision.scan import Scan, scan, threaded
from taskbasis.data.vision.training import CroppedImages, PixelImages
from taskbasis.data.vision.transforms import evaluation_pixels
from taskbasis.errors import ConfigError, DataError
from taskbasis.store import Artifact, StageKey, Store, digest
from taskbasis.store.hashing import files_state
from taskbasis.vectors.shard import Entry
from taskbasis.vectors.writer import TensorWriter

_log = logging.getLogger(__name__)
AUTO = "auto"
CONTROL_SPLITS = {"val": None, "train": "train"}
"""Where the control's validation images come from, and the variant of the dataset that has them."""
_scans: dict[tuple[VisionSuite, Path, str], Scan] = {}
"""Listing the files of a dataset takes seconds: once in a process is enough."""
TRAIN_CACHES = ("none", "resized")


@dataclass(frozen=True)
class PixelKey(StageKey):
    """Key of the evaluation pixels of one split."""

    STAGE: ClassVar[str] = "pixels"
    VERSION: ClassVar[int] = 1
    images: str
    """Content of the pictures and labels, in order."""
    transpose: bool
    image_size: int
    interpolation: str
    resize_mode: str


@dataclass(frozen=True)
class VisionSuite:
    """The twenty real tasks of the paper, with ImageNet as their control; see ``docs/vision.md``.

    Raises:
        ConfigError: for a task, kind of source, variant or word that there is not.
    """

    root: str
    """Folder of all data."""
    source: str = AUTO
    """Kind of source of every dataset: folder, torchvision, hf, or auto, the first that is there."""
    sources: Mapping[str, str | None] = field(default_factory=dict)
    """The same for single datasets, by name; null is :attr:`source`."""
    variants: Mapping[str, str | None] = field(default_factory=dict)
    """Named variants of single datasets that the literature has, by name."""
    prompts: str = "reference"
    control_split: str = "val"
    """``val``: a tenth of ImageNet's validation images, which then are no test images; ``train``: 5000 of its
    training images, as the lineage does."""
    check_sizes: bool = True
    train_cache: str = "none"
    """``resized`` crops from the evaluation pixels: faster and not the published augmentation."""
    preprocess: Preprocess | None = None
    """What the image encoder wants, once it is known."""
    name: str = "vision"

    def __post_init__(self) -> None:
        for key, value, accepted in (
            ("source", self.source, (AUTO, *KINDS)),
            ("control_split", self.control_split, tuple(CONTROL_SPLITS)),
            ("train_cache", self.train_cache, TRAIN_CACHES),
        ):
            if value not in accepted:
                raise ConfigError(f"suite.{key}={value!r}: accepted are {', '.join(accepted)}")
        for key, given in (("sources", self.sources), ("variants", self.variants)):
            if unknown := [name for name in given if name not in (*TASKS, CONTROL)]:
                raise ConfigError(
                    f"suite.{key}: unknown datasets {unknown}; there are {', '.join(TASKS)}, {CONTROL}"
                )
        for name, kind in self.sources.items():
            if kind not in (None, AUTO, *self.dataset(name).sources):
                known = ", ".join((AUTO, *self.dataset(name).sources))
                raise ConfigError(f"suite.sources.{name}={kind!r}: accepted are {known}")

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """See :class:`~taskbasis.data.suite.Suite`."""
        return tuple(self.dataset(name).spec for name in TASKS)

    @property
    def control(self) -> TaskSpec:
        """See :class:`~taskbasis.data.suite.Suite`."""
        return self.dataset(CONTROL).spec

    def fitted(self, preprocess: Preprocess) -> VisionSuite:
        """See :class:`~taskbasis.data.suite.Suite`."""
        return replace(self, preprocess=preprocess)

    def dataset(self, name: str) -> Dataset:
        """The description of a dataset, in the chosen variant.

        Raises:
            ConfigError: for a variant or kind of prompts that there is not.
        """
        variant = self.variants.get(name)
        if name == CONTROL and variant is None:
            variant = CONTROL_SPLITS[self.control_split]
        return dataset(name, variant, self.prompts)

    def readers(self, name: str) -> dict[str, Reader]:
        """What may read a dataset, by kind of source, in the order in which they are tried."""
        chosen = self.sources.get(name) or self.source
        described = self.dataset(name)
        kinds = list(described.sources) if chosen == AUTO else [chosen]
        if absent := [kind for kind in kinds if kind not in described.sources]:
            known = ", ".join(described.sources)
            raise ConfigError(
                f"{name} has no source {absent[0]!r}; accepted are {known}: suite.sources.{name}=…"
            )
        return {kind: reader(described, kind, Path(self.root)) for kind in kinds}

    def scan(self, store: Store, name: str) -> Scan:
        """What is there of a dataset, checked.

        Raises:
            DataError: if nothing is there, saying what to do, or something is wrong with it.
        """
        readers = self.readers(name)
        missing = {kind: absent for kind, candidate in readers.items() if (absent := candidate.missing())}
        for kind, candidate in readers.items():
            if kind not in missing:
                return scan(
                    store,
                    self.dataset(name),
                    candidate,
                    kind,
                    sized=self.check_sizes,
                    control=name == CONTROL,
                )
        looked = "; ".join(f"{kind}: no {absent}" for kind, absent in missing.items())
        raise DataError(
            f"the dataset {name} is not there ({looked}). To fetch it: python -m taskbasis.data prepare "
            f"--suite vision --tasks {name} --root {self.root}"
        )

    def files_state(self, tasks: Sequence[str]) -> str:
        """See :class:`~taskbasis.data.suite.Suite`."""
        places = {name: [r.place for r in self.readers(name).values()] for name in (*tasks, CONTROL)}
        return digest({name: [files_state(place) for place in found] for name, found in places.items()})

    def pixels(self, store: Store, task: str, split: str) -> Artifact:
        """See :class:`~taskbasis.data.suite.Suite`; ``train`` gives all training images in the same way."""
        found, transpose = self._found(store, task)

        def build(folder: Path) -> dict[str, Any]:
            write_pixels(self._upright(found, split, transpose), self.fitted_to, folder / PIXELS)
            return {"data": found.facts()}

        return store.make(self._pixel_key(found, split, transpose), build)

    def has_pixels(self, store: Store, task: str, split: str) -> bool:
        """Whether :meth:`pixels` would find them stored."""
        found, transpose = self._found(store, task)
        return store.find(self._pixel_key(found, split, transpose)) is not None

    def training_set(self, store: Store, task: str) -> tuple[TrainingSet, str]:
        """See :class:`~taskbasis.data.suite.Suite`."""
        found, transpose = self._found(store, task)
        described = {
            "images": found.identity("train"),
            "transpose": transpose,
            "cache": self.train_cache,
            "transform": "open_clip train",
            "image_size": self.fitted_to.image_size,
            "interpolation": self.fitted_to.interpolation,
        }
        images: Images
        if self.train_cache == "resized":
            described["resize_mode"] = self.fitted_to.resize_mode
            images = PixelImages(Pixels.open(self.pixels(store, task, "train").file(PIXELS)))
        else:
            images = self._upright(found, "train", transpose)
        return CroppedImages(images, self.fitted_to), digest(described)

    def _found(self, store: Store, task: str) -> tuple[Scan, bool]:
        """What there is of a task, and whether its pictures are transposed."""
        known = (self, store.root, task)
        if known not in _scans:
            _scans[known] = self.scan(store, task)
        found = _scans[known]
        described = self.dataset(task)
        kind = found.artifact.meta["source"]["kind"]
        return found, bool(described.sources[kind].settings.get("transpose", described.transpose))

    def _pixel_key(self, found: Scan, split: str, transpose: bool) -> PixelKey:
        return PixelKey(
            images=found.identity(split),
            transpose=transpose,
            image_size=self.fitted_to.image_size,
            interpolation=self.fitted_to.interpolation,
            resize_mode=self.fitted_to.resize_mode,
        )

    def _upright(self, found: Scan, split: str, transpose: bool) -> Images:
        images = found.images(split)
        return Transposed(images) if transpose else images

    @property
    def fitted_to(self) -> Preprocess:
        """What the image encoder wants.

        Raises:
            ConfigError: before it is known.
        """
        if self.preprocess is None:
            raise ConfigError("suite=vision has no pixels before it is fitted to a model")
        return self.preprocess

    def __hash__(self) -> int:
        return hash((self.root, self.source, self.prompts))


def write_pixels(images: Images, preprocess: Preprocess, path: Path) -> None:
    """Decode, resize and crop all images and write them one by one: uint8 (N, 3, H, W) and labels.

    Raises:
        DataError: naming a picture that cannot be decoded.
    """
    count, side = len(images.labels), preprocess.image_size
    to_pixels = evaluation_pixels(preprocess)
    entries = {
        "images": Entry(torch.uint8, torch.Size((count, 3, side, side))),
        "labels": Entry(torch.int64, torch.Size((count,))),
    }
    with TensorWriter(path, entries) as writer:
        writer.write("labels", 0, images.labels)
        decoded = threaded(lambda index: to_pixels(images.picture(index)), range(count))
        for index, pixels in enumerate(decoded):
            writer.write("images", index * pixels.numel(), pixels)
