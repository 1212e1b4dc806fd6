"""What a source holds: every image's content hash and label, its splits, and what was checked of them.

This reads all files once; the result is kept while the names, sizes and times of the files stay the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from taskbasis.data.vision.catalog import Dataset
from taskbasis.data.vision.images import Images, Subset
from taskbasis.data.vision.readers import Reader
from taskbasis.data.vision.splits import Part, check_disjoint, check_sizes, cut, identity
from taskbasis.errors import DataError
from taskbasis.parallel import default_workers
from taskbasis.store import Artifact, StageKey, Store
from taskbasis.store.hashing import files_state

SPLITS = "splits.safetensors"
Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 512


@dataclass(frozen=True)
class ScanKey(StageKey):
    """Key of what was found in a source."""

    STAGE: ClassVar[str] = "dataset"
    VERSION: ClassVar[int] = 1
    dataset: str
    variant: str | None
    source: dict[str, Any]
    files: str
    """Names, sizes and times of its files."""
    sizes: dict[str, int] | None
    """The sizes that it must have, or None for any."""


@dataclass(frozen=True)
class Scan:
    """The splits of a dataset in a source."""

    artifact: Artifact
    reader: Reader

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.artifact.meta["sizes"])

    def identity(self, split: str) -> str:
        """Hash of the images and labels of a split, in order."""
        return str(self.artifact.meta["identities"][split])

    def facts(self) -> dict[str, Any]:
        """What results say about the data: source, sizes, twins across splits."""
        return {k: self.artifact.meta[k] for k in ("dataset", "variant", "source", "sizes", "twins")}

    def images(self, split: str) -> Images:
        """The images of a split.

        Raises:
            DataError: if the source cannot be read, or holds something else than when it was scanned.
        """
        stored = load_file(self.artifact.file(SPLITS))
        whole = self.reader.parts()[self.artifact.meta["parts"][split]]
        indices, labels = stored[f"{split}.indices"], stored[f"{split}.labels"]
        if len(whole.labels) <= int(indices.max()) or not torch.equal(whole.labels[indices], labels):
            raise DataError(f"{self.reader.place} changed while it was read; run the command again")
        return Subset(whole, indices)


def scan(store: Store, dataset: Dataset, reader: Reader, kind: str, *, sized: bool, control: bool) -> Scan:
    """Read, cut and check a source, unless that was done before.

    Args:
        store: where the result is kept.
        dataset: what should be there.
        reader: what reads it.
        kind: kind of the source.
        sized: whether the sizes must be the published ones.
        control: whether it is a control, whose training images are never used.

    Raises:
        DataError: if the classes, the sizes or the disjointness of the splits are not as they should be.
    """
    source = dataset.sources[kind]
    key = ScanKey(
        dataset=dataset.name,
        variant=dataset.variant,
        source=source.describe(),
        files=files_state(reader.place),
        sizes=dict(dataset.expected_sizes(source)) if sized else None,
    )

    def build(folder: Path) -> dict[str, Any]:
        parts = reader.parts()
        if empty := [name for name, images in parts.items() if not len(images.labels)]:
            raise DataError(f"{dataset.name}: {reader.place} holds no images for {', '.join(empty)}")
        splits = cut({name: len(images.labels) for name, images in parts.items()})
        if control:
            splits.pop("train", None)
        if sized:
            check_sizes(dataset, source, splits)
        found = {name: _contents(parts, part) for name, part in splits.items()}
        twins = check_disjoint(dataset, source, found)
        labels = {name: parts[part.source].labels[part.indices] for name, part in splits.items()}
        _check_labels(dataset, labels)
        tensors = {f"{name}.indices": part.indices.contiguous() for name, part in splits.items()}
        save_file(tensors | {f"{n}.labels": v.contiguous() for n, v in labels.items()}, folder / SPLITS)
        return {
            "dataset": dataset.name,
            "variant": dataset.variant,
            "source": {"kind": kind, **reader.provenance()},
            "parts": {name: part.source for name, part in splits.items()},
            "sizes": {name: len(part.indices) for name, part in splits.items()},
            "identities": {name: identity(found[name], labels[name]) for name in splits},
            "twins": twins,
        }

    return Scan(store.make(key, build), reader)


def threaded(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
    """``function(item)`` in order, computed by threads a bounded way ahead."""
    rest = iter(items)
    with ThreadPoolExecutor(default_workers()) as pool:
        waiting = [pool.submit(function, item) for item in islice(rest, _AHEAD)]
        for position in range(len(waiting)):
            yield waiting[position].result()
        while chunk := [pool.submit(function, item) for item in islice(rest, _AHEAD)]:
            for future in chunk:
                yield future.result()


def _contents(parts: Mapping[str, Images], part: Part) -> Tensor:
    """Content hashes of the images of a split, uint8 of shape (n, 16)."""
    images = parts[part.source]
    found = b"".join(threaded(lambda i: _hash(images.content(i)), part.indices.tolist()))
    return torch.frombuffer(bytearray(found), dtype=torch.uint8).view(-1, 16)


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _check_labels(dataset: Dataset, labels: Mapping[str, Tensor]) -> None:
    for name, values in labels.items():
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= len(dataset.labels):
            raise DataError(
                f"{dataset.name}: labels of {name} go from {low} to {high}, but there are "
                f"{len(dataset.labels)} classes"
            )
