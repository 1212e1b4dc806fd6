"""Readers of the places that a dataset can come from, one file per kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from taskbasis.data.vision.catalog import Dataset, SourceSpec
from taskbasis.data.vision.readers.archives import ArchiveReader
from taskbasis.data.vision.readers.folders import FolderReader
from taskbasis.data.vision.readers.hub import HubReader
from taskbasis.data.vision.readers.reader import Reader

__all__ = ["Reader", "reader"]

_READERS: Mapping[str, Callable[[Dataset, SourceSpec, Path], Reader]] = {
    "folder": FolderReader,
    "torchvision": ArchiveReader,
    "hf": HubReader,
}


def reader(dataset: Dataset, kind: str, root: Path) -> Reader:
    """What reads a dataset from one kind of source under the folder of all data."""
    return _READERS[kind](dataset, dataset.sources[kind], root)
