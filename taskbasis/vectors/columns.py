"""Where the columns of a vector set come from: each kind fills memory with a slice of all its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from taskbasis.errors import VectorError
from taskbasis.vectors.files import TensorFile
from taskbasis.vectors.layout import CHUNK, Layout
from taskbasis.vectors.passes import Scratch


class Columns(Protocol):
    """K vectors with one layout, never all in memory."""

    @property
    def layout(self) -> Layout:
        """Shapes by tensor name; a vector is the concatenation of its flattened tensors in this order."""

    @property
    def files(self) -> tuple[TensorFile, ...]:
        """The checkpoints that the columns are read from."""

    def read(self, tensor: str, start: int, out: Tensor) -> None:
        """Fill ``out`` with elements from ``start`` of one flattened tensor, for all columns.

        Args:
            tensor: its name in the layout.
            start: the first element.
            out: shape (K, n), float32 or float64; the result is computed at that precision or better.
        """


@dataclass(frozen=True)
class Stored:
    """Columns that lie in files as they are, such as the atoms of a saved basis."""

    files: tuple[TensorFile, ...]
    layout: Layout

    def read(self, tensor: str, start: int, out: Tensor) -> None:
        """See :class:`Columns`."""
        torch.stack([f.elements(tensor, start, start + out.shape[1]) for f in self.files], out=out)


@dataclass(frozen=True)
class Differences:
    """Task vectors τ_t = θ_t − θ₀, computed as they are read, never at less than float32."""

    base: TensorFile
    finetuned: tuple[TensorFile, ...]
    layout: Layout

    @property
    def files(self) -> tuple[TensorFile, ...]:
        """See :class:`Columns`."""
        return (self.base, *self.finetuned)

    def read(self, tensor: str, start: int, out: Tensor) -> None:
        """See :class:`Columns`."""
        stop = start + out.shape[1]
        origin = self.base.elements(tensor, start, stop)
        columns = [file.elements(tensor, start, stop) for file in self.finetuned]
        wide = any(values.dtype == torch.float64 for values in (origin, *columns))
        if not wide:
            # Few calls on long rows: threads would spend their time waiting for the interpreter's lock.
            torch.stack(columns, out=out).sub_(origin)
            return
        # θ_t and θ₀ are nearly equal: narrowed before the subtraction they would lose most digits.
        origin = origin.double()
        for row, values in zip(out, columns, strict=True):
            torch.sub(values.double(), origin, out=row)


@dataclass(frozen=True)
class Combined:
    """Linear combinations of other columns: X·C, one chunk at a time."""

    source: Columns
    coefficients: Tensor
    """float64 of shape (K_source, K)."""
    _scratch: Scratch = field(default_factory=Scratch, repr=False, compare=False)

    @property
    def layout(self) -> Layout:
        """See :class:`Columns`."""
        return self.source.layout

    @property
    def files(self) -> tuple[TensorFile, ...]:
        """See :class:`Columns`."""
        return self.source.files

    def read(self, tensor: str, start: int, out: Tensor) -> None:
        """See :class:`Columns`."""
        C = self.coefficients.T.to(out.dtype)
        length = out.shape[1]
        most = max(CHUNK // C.shape[1], 1)
        for begin in range(0, length, most):
            end = min(begin + most, length)
            columns = self._scratch.take(C.shape[1], end - begin, out.dtype)
            self.source.read(tensor, start + begin, columns)
            torch.mm(C, columns, out=out[:, begin:end])


@dataclass(frozen=True)
class Concatenated:
    """The columns of several sets with one layout, side by side."""

    parts: tuple[Columns, ...]
    counts: tuple[int, ...]
    """How many columns each part has."""

    @property
    def layout(self) -> Layout:
        """See :class:`Columns`."""
        return self.parts[0].layout

    @property
    def files(self) -> tuple[TensorFile, ...]:
        """See :class:`Columns`."""
        return tuple(file for part in self.parts for file in part.files)

    def read(self, tensor: str, start: int, out: Tensor) -> None:
        """See :class:`Columns`."""
        for part, rows in zip(self.parts, torch.split(out, list(self.counts)), strict=True):
            part.read(tensor, start, rows)


def blame(columns: Columns, tensors: Sequence[str]) -> None:
    """Find what made a value that is not finite.

    Raises:
        VectorError: naming the file and tensor, always.
    """
    for file in columns.files:
        for tensor in tensors:
            if not torch.isfinite(file.read(tensor)).all():
                raise VectorError(f"{file.path}: the tensor {tensor!r} has a value that is not finite")
    if not columns.files:
        raise VectorError(f"the tensor {tensors[0]!r} has a value that is not finite, or one that overflowed")
    raise VectorError(f"a value of {tensors[0]!r} overflowed; the files themselves are finite")
