"""Where the columns of a vector set come from: each kind reads a slice of one tensor for all columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from taskbasis.errors import VectorError
from taskbasis.vectors.files import TensorFile


class Columns(Protocol):
    """K vectors with one layout, never all in memory."""

    @property
    def layout(self) -> Mapping[str, torch.Size]:
        """Shapes by tensor name; a vector is the concatenation of its flattened tensors in this order."""

    def read(self, tensor: str, start: int, stop: int) -> Tensor:
        """Elements ``start:stop`` of one flattened tensor: float32 of shape (K, stop − start)."""


@dataclass(frozen=True)
class Stored:
    """Columns that lie in files as they are, such as the atoms of a saved basis."""

    files: tuple[TensorFile, ...]
    layout: Mapping[str, torch.Size]

    def read(self, tensor: str, start: int, stop: int) -> Tensor:
        """See :class:`Columns`."""
        return torch.stack([f.read(tensor).reshape(-1)[start:stop].float() for f in self.files])


@dataclass(frozen=True)
class Differences:
    """Task vectors τ_t = θ_t − θ₀, computed in float32 as they are read."""

    base: TensorFile
    files: tuple[TensorFile, ...]
    layout: Mapping[str, torch.Size]

    def read(self, tensor: str, start: int, stop: int) -> Tensor:
        """See :class:`Columns`."""
        origin = self.base.read(tensor).reshape(-1)[start:stop].float()
        columns = torch.empty(len(self.files), stop - start)
        for row, file in zip(columns, self.files, strict=True):
            torch.sub(file.read(tensor).reshape(-1)[start:stop].float(), origin, out=row)
        return columns


@dataclass(frozen=True)
class Combined:
    """Linear combinations of other columns: X·C, one chunk at a time."""

    source: Columns
    coefficients: Tensor
    """float64 of shape (K_source, K)."""

    @property
    def layout(self) -> Mapping[str, torch.Size]:
        """See :class:`Columns`."""
        return self.source.layout

    def read(self, tensor: str, start: int, stop: int) -> Tensor:
        """See :class:`Columns`."""
        return self.coefficients.T.float() @ self.source.read(tensor, start, stop)


@dataclass(frozen=True)
class Concatenated:
    """The columns of several sets with one layout, side by side."""

    parts: tuple[Columns, ...]

    @property
    def layout(self) -> Mapping[str, torch.Size]:
        """See :class:`Columns`."""
        return self.parts[0].layout

    def read(self, tensor: str, start: int, stop: int) -> Tensor:
        """See :class:`Columns`."""
        return torch.cat([part.read(tensor, start, stop) for part in self.parts])


def common_layout(files: Mapping[str, TensorFile], select: str | None) -> dict[str, torch.Size]:
    """Shapes of the tensors selected by the prefix ``select``, which must agree in all files.

    Raises:
        VectorError: naming the file and tensor that is missing or has another shape.
    """
    (first_name, first), *others = files.items()
    layout = {k: v for k, v in first.layout.items() if select is None or k.startswith(select)}
    if not layout:
        raise VectorError(
            f"{first.path} ({first_name}) has no floating-point tensor"
            + (f" whose name begins with {select!r}; it has {list(first.layout)[:5]} …" if select else "")
        )
    for name, file in others:
        found = {k: v for k, v in file.layout.items() if select is None or k.startswith(select)}
        for tensor in sorted(layout.keys() ^ found.keys()):
            lacking, having = (file, first) if tensor in layout else (first, file)
            raise VectorError(f"{lacking.path} ({name}) lacks the tensor {tensor!r} that {having.path} has")
        for tensor, shape in layout.items():
            if found[tensor] != shape:
                raise VectorError(
                    f"{file.path} ({name}): {tensor!r} has shape {tuple(found[tensor])}, "
                    f"in {first.path} it is {tuple(shape)}"
                )
    return layout
