"""Labelled pictures in the ways that sources store them, decoded one by one when they are wanted."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from taskbasis.errors import DataError


class Images(Protocol):
    """N labelled pictures; picklable, so that other processes can decode them."""

    @property
    def labels(self) -> Tensor:
        """int64 of shape (N,)."""

    def content(self, index: int) -> bytes:
        """What the source stores of a picture: equal for equal pictures."""

    def picture(self, index: int) -> Image.Image:
        """A picture, grey or RGB.

        Raises:
            DataError: naming the picture that cannot be decoded.
        """


@dataclass(frozen=True)
class FileImages:
    """Pictures in files."""

    paths: Sequence[str]
    labels: Tensor

    def content(self, index: int) -> bytes:
        """See :class:`Images`."""
        try:
            return Path(self.paths[index]).read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {self.paths[index]}: {error.strerror}") from error

    def picture(self, index: int) -> Image.Image:
        """See :class:`Images`."""
        return _decode(self.content(index), self.paths[index])


@dataclass(frozen=True)
class ArrayImages:
    """Pictures in one array: uint8 of shape (N, H, W) or (N, H, W, 3)."""

    array: Any
    labels: Tensor

    def content(self, index: int) -> bytes:
        """See :class:`Images`."""
        return np.ascontiguousarray(self.array[index]).tobytes()

    def picture(self, index: int) -> Image.Image:
        """See :class:`Images`."""
        return Image.fromarray(np.ascontiguousarray(self.array[index]))


@dataclass
class Hdf5Array:
    """An array in an HDF5 file, read row by row; the file is opened once in every process."""

    path: Path
    key: str
    _opened: Any = field(default=None, repr=False, compare=False)

    def __getitem__(self, index: int) -> Any:
        return self._open()[index]

    def __len__(self) -> int:
        return len(self._open())

    def read(self) -> Any:
        """The whole array."""
        return self._open()[()]

    def _open(self) -> Any:
        if self._opened is None:
            import h5py

            try:
                self._opened = h5py.File(self.path)[self.key]
            except (OSError, KeyError) as error:
                raise DataError(f"{self.path} cannot be read as HDF5 with {self.key!r}: {error}") from error
        return self._opened

    def __reduce__(self) -> tuple[type[Hdf5Array], tuple[Path, str]]:
        return Hdf5Array, (self.path, self.key)


@dataclass(frozen=True)
class TableImages:
    """Pictures in a column of a table of Hugging Face ``datasets``, encoded as they were uploaded."""

    table: Any
    column: str
    labels: Tensor
    origin: str
    """Where the table is from, for messages."""

    def content(self, index: int) -> bytes:
        """See :class:`Images`."""
        cell = self.table[index][self.column]
        stored: bytes = cell["bytes"] if isinstance(cell, dict) else cell
        return stored

    def picture(self, index: int) -> Image.Image:
        """See :class:`Images`."""
        return _decode(self.content(index), f"{self.origin}, row {index}")


@dataclass(frozen=True)
class Subset:
    """Some pictures of others, in the order of ``indices``."""

    images: Images
    indices: Tensor
    """int64 of shape (N,)."""

    @property
    def labels(self) -> Tensor:
        """See :class:`Images`."""
        return self.images.labels[self.indices]

    def content(self, index: int) -> bytes:
        """See :class:`Images`."""
        return self.images.content(int(self.indices[index]))

    def picture(self, index: int) -> Image.Image:
        """See :class:`Images`."""
        return self.images.picture(int(self.indices[index]))


@dataclass(frozen=True)
class Joined:
    """The pictures of several parts, one part after the other."""

    parts: tuple[Images, ...]

    @property
    def labels(self) -> Tensor:
        """See :class:`Images`."""
        return torch.cat([part.labels for part in self.parts])

    def content(self, index: int) -> bytes:
        """See :class:`Images`."""
        part, position = self._find(index)
        return part.content(position)

    def picture(self, index: int) -> Image.Image:
        """See :class:`Images`."""
        part, position = self._find(index)
        return part.picture(position)

    def _find(self, index: int) -> tuple[Images, int]:
        for part in self.parts:
            if index < len(part.labels):
                return part, index
            index -= len(part.labels)
        raise IndexError(index)


@dataclass(frozen=True)
class Transposed:
    """Pictures with height and width exchanged."""

    images: Images

    @property
    def labels(self) -> Tensor:
        """See :class:`Images`."""
        return self.images.labels

    def content(self, index: int) -> bytes:
        """See :class:`Images`."""
        return self.images.content(index)

    def picture(self, index: int) -> Image.Image:
        """See :class:`Images`."""
        return self.images.picture(index).transpose(Image.Transpose.TRANSPOSE)


def _decode(encoded: bytes, origin: str) -> Image.Image:
    """Decode a file as the published code does: RGB unless it is grey, and never turned by EXIF."""
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            return picture.copy() if picture.mode == "L" else picture.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{origin} is not a picture that can be decoded: {error}") from error
