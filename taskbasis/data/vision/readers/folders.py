"""Folders of classes with files of images, in the layout of the task-arithmetic lineage or one like it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from taskbasis.data.vision.catalog import Dataset, SourceSpec
from taskbasis.data.vision.images import FileImages, Images
from taskbasis.data.vision.readers.reader import labels_by_name
from taskbasis.errors import DataError


@dataclass(frozen=True)
class FolderReader:
    """Folders of splits, or one folder with a list of file names per split, whose subfolders are classes.

    Images are in the order of torchvision's ``ImageFolder``, on which the cut into training and
    validation images depends.
    """

    dataset: Dataset
    source: SourceSpec
    root: Path

    @property
    def place(self) -> Path:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        return self.root / str(self.source.settings["folder"])

    def missing(self) -> str | None:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        wanted = [self.place / name for name in self._lists.values()]
        if "lists" in self.source.settings:
            wanted.append(self.place / self.source.settings["images"])
        for split, folders in self._folders.items():
            if split != "val" and self._find(split) is None:
                wanted.append(self.place / folders[0])
        absent = [str(path) for path in wanted if not path.exists()]
        return ", ".join(absent) or None

    def parts(self) -> Mapping[str, Images]:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        if self._lists:
            return {split: self._listed(self.place / name) for split, name in self._lists.items()}
        found = {split: self._find(split) for split in self._folders}
        return {split: self._images(folder) for split, folder in found.items() if folder is not None}

    def provenance(self) -> dict[str, str]:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        return {}

    def download(self) -> None:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        raise DataError(
            f"{self.dataset.name}: folders cannot be downloaded; put the images into "
            f"{self.place}/<split>/<class>/, or choose another source"
        )

    @property
    def _lists(self) -> Mapping[str, str]:
        lists: Mapping[str, str] = self.source.settings.get("lists", {})
        return lists

    @property
    def _folders(self) -> Mapping[str, list[str]]:
        folders: Mapping[str, list[str]] = self.source.settings.get("splits", {})
        return folders

    def _find(self, split: str) -> Path | None:
        places = [self.place / name for name in self._folders[split]]
        return next((place for place in places if place.is_dir()), None)

    def _images(self, folder: Path, wanted: Callable[[str], bool] | None = None) -> FileImages:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        labels = labels_by_name(self.dataset, names, str(folder))
        extensions = None if wanted else IMG_EXTENSIONS
        try:
            samples = make_dataset(folder, labels, extensions, wanted, allow_empty=wanted is not None)
        except FileNotFoundError as error:
            raise DataError(f"{self.dataset.name}: {folder} has classes without images: {error}") from error
        paths, targets = zip(*samples, strict=True) if samples else ((), ())
        return FileImages(paths, torch.tensor(targets, dtype=torch.int64))

    def _listed(self, listing: Path) -> FileImages:
        names = {line.strip() for line in listing.read_text().splitlines() if line.strip()}
        folder = self.place / self.source.settings["images"]
        images = self._images(folder, lambda path: Path(path).name in names)
        if len(images.paths) != len(names):
            absent = names - {Path(path).name for path in images.paths}
            example = f", such as {min(absent)}" if absent else ""
            raise DataError(
                f"{self.dataset.name}: {listing.name} lists {len(names)} images, {folder} has "
                f"{len(images.paths)} of them{example}; files have to lie in folders of their classes"
            )
        return images
