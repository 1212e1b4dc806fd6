"""Datasets in the layout of their original archives, read by the classes of torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.datasets
from torch import Tensor

from taskbasis.data.vision.catalog import Dataset, SourceSpec
from taskbasis.data.vision.images import ArrayImages, FileImages, Hdf5Array, Images, Joined
from taskbasis.data.vision.readers.reader import check_order
from taskbasis.errors import DataError

PLACES: Mapping[str, str] = {
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "DTD": "dtd/dtd",
    "EMNIST": "EMNIST/raw",
    "FER2013": "fer2013",
    "FashionMNIST": "FashionMNIST/raw",
    "Flowers102": "flowers-102",
    "Food101": "food-101",
    "GTSRB": "gtsrb",
    "KMNIST": "KMNIST/raw",
    "MNIST": "MNIST/raw",
    "OxfordIIITPet": "oxford-iiit-pet",
    "PCAM": "pcam",
    "RenderedSST2": "rendered-sst2",
    "STL10": "stl10_binary",
    "SVHN": ".",
    "StanfordCars": "stanford_cars",
}
"""Where the classes of torchvision keep their files, below the folder that they are given."""
_SPLITS = {"train": [{"split": "train"}], "test": [{"split": "test"}]}


@dataclass(frozen=True)
class ArchiveReader:
    """A class of ``torchvision.datasets``, made once for every part it has."""

    dataset: Dataset
    source: SourceSpec
    root: Path

    @property
    def place(self) -> Path:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        return self._root / PLACES[self._name]

    def missing(self) -> str | None:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        return None if self.place.is_dir() and any(self.place.iterdir()) else str(self.place)

    def parts(self) -> Mapping[str, Images]:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        return {part: self._part(variants) for part, variants in self._splits.items()}

    def provenance(self) -> dict[str, str]:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        return {"torchvision": torchvision.__version__}

    def download(self) -> None:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        if not self.source.settings.get("download", True):
            raise DataError(
                f"{self.dataset.name}: its original server is gone, so torchvision cannot fetch it; put a "
                f"copy of its files into {self.place}, or choose another source"
            )
        for options in [options for variants in self._splits.values() for options in variants]:
            self._make(options, download=True)

    @property
    def _name(self) -> str:
        return str(self.source.settings["class"])

    @property
    def _root(self) -> Path:
        return self.root / str(self.source.settings["folder"])

    @property
    def _splits(self) -> Mapping[str, list[dict[str, Any]]]:
        splits: Mapping[str, list[dict[str, Any]]] = self.source.settings.get("splits", _SPLITS)
        return splits

    def _part(self, variants: list[dict[str, Any]]) -> Images:
        made = [self._make(options) for options in variants]
        first = self.source.settings.get("first_label", 0)
        for instance in made:
            if first == 0 and (names := getattr(instance, "classes", None)):
                check_order(self.dataset, names, f"torchvision's {self._name}")
        images = [_images(instance, first) for instance in made]
        return images[0] if len(images) == 1 else Joined(tuple(images))

    def _make(self, options: Mapping[str, Any], **more: Any) -> Any:
        given = {**self.source.settings.get("options", {}), **options, **more}
        try:
            return getattr(torchvision.datasets, self._name)(str(self._root), **given)
        except (RuntimeError, OSError, ValueError, KeyError, EOFError, ImportError, SyntaxError) as error:
            verb = "fetch" if more else "read"
            raise DataError(
                f"{self.dataset.name}: torchvision cannot {verb} {self.place}: {str(error).rstrip('.')}. If "
                f"a download broke off, remove that folder and run python -m taskbasis.data prepare again"
            ) from error


def _images(made: Any, first: int) -> Images:
    """The images of an instance of a class of torchvision, without decoding any."""
    if isinstance(made, torchvision.datasets.PCAM):
        return _pcam(made)
    if hasattr(made, "data"):
        array = made.data.numpy() if isinstance(made.data, Tensor) else made.data
        if array.ndim == 4 and array.shape[1] == 3:
            array = np.moveaxis(array, 1, -1)
        return ArrayImages(array, _labels(made.targets if hasattr(made, "targets") else made.labels, first))
    if hasattr(made, "_samples"):
        pictures, labels = zip(*made._samples, strict=True)
        if isinstance(pictures[0], Tensor):
            return ArrayImages(torch.stack(pictures).numpy(), _labels(labels, first))
        return FileImages(tuple(map(str, pictures)), _labels(labels, first))
    paths = made._image_files if hasattr(made, "_image_files") else made._images
    return FileImages(tuple(map(str, paths)), _labels(made._labels, first))


def _pcam(made: torchvision.datasets.PCAM) -> ArrayImages:
    files = {kind: made._base_folder / made._FILES[made._split][kind][0] for kind in ("images", "targets")}
    labels = Hdf5Array(files["targets"], "y").read()
    return ArrayImages(Hdf5Array(files["images"], "x"), _labels(labels.reshape(-1), 0))


def _labels(values: Any, first: int) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.int64)) - first
