"""The products of a Gram matrix on a CUDA device, with reading, copying and multiplying overlapped."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from taskbasis.vectors.columns import Columns
from taskbasis.vectors.layout import Block, Chunk


@dataclass(frozen=True)
class OnDevice:
    """Products by a CUDA device, in float64: there the copies are the floor, not the arithmetic.

    Every thread has a stream and two pairs of buffers of its own, so that it reads a chunk from the files
    while the one before is copied and multiplied, and threads overlap with each other.
    """

    columns: Columns
    count: int
    """K, the number of columns."""
    rows: Sequence[int] | None
    """The R rows that are wanted; None for all K."""
    precision: torch.dtype
    """Of what is sent to the device."""
    device: torch.device
    _lanes: threading.local = field(default_factory=threading.local, repr=False)

    def __call__(self, block: Block) -> Tensor:
        """See :data:`taskbasis.vectors.products.Multiply`."""
        lane = self._lane()
        with torch.cuda.device(self.device), torch.cuda.stream(lane.stream):
            R = self.count if self.rows is None else len(self.rows)
            total = torch.zeros(R, self.count, dtype=torch.float64, device=self.device)
            for chunk in block:
                X = lane.fetch(self.columns, chunk, self.count).double()
                total += (X if self.rows is None else X[list(self.rows)]) @ X.T
            return total.cpu()

    def _lane(self) -> Lane:
        if not hasattr(self._lanes, "lane"):
            self._lanes.lane = Lane(self.device, self.precision)
        lane: Lane = self._lanes.lane
        return lane


class Lane:
    """The stream and the two pairs of buffers of one thread."""

    def __init__(self, device: torch.device, precision: torch.dtype) -> None:
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._device, self._precision = device, precision
        self._turn = 0
        self._pinned = [torch.empty(0), torch.empty(0)]
        self._landed = [torch.empty(0, device=device), torch.empty(0, device=device)]
        self._copied = [torch.cuda.Event() for _ in range(2)]  # type: ignore[no-untyped-call]

    def fetch(self, columns: Columns, chunk: Chunk, count: int) -> Tensor:
        """Read a chunk and begin to copy it: shape (count, n), for work that is queued on the stream.

        The result is overwritten two calls later, by a copy that the stream orders after that work.
        """
        turn, self._turn = self._turn, 1 - self._turn
        wanted = count * len(chunk)
        self._copied[turn].synchronize()
        if self._pinned[turn].numel() < wanted:
            self._pinned[turn] = torch.empty(wanted, dtype=self._precision, pin_memory=True)
            self._landed[turn] = torch.empty(wanted, dtype=self._precision, device=self._device)
        host = self._pinned[turn][:wanted].view(count, len(chunk))
        columns.read(chunk.tensor, chunk.start, host)
        X = self._landed[turn][:wanted].view(count, len(chunk))
        X.copy_(host, non_blocking=True)
        self._copied[turn].record(self.stream)
        return X
