"""Noise columns that are never stored: each element is a pure function of (seed, column, position).

A vector is flattened by concatenating its tensors in sorted order of their names, each in row-major
order, and cut into blocks of 2¹⁶ elements. Block b of column c is standard normal noise from a
Philox-4x64 generator with key (seed, c) and counter (0, 0, 0, b). So any part can be drawn on its own,
and the columns of a smaller set are a prefix of those of a larger one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from taskbasis.vectors.files import TensorFile
from taskbasis.vectors.layout import Layout

BLOCK = 1 << 16


@dataclass(frozen=True)
class Noise:
    """``count`` columns of standard normal noise (see :class:`~taskbasis.vectors.columns.Columns`)."""

    seed: int
    count: int
    layout: Layout

    @cached_property
    def _offsets(self) -> dict[str, int]:
        offsets, position = {}, 0
        for name in sorted(self.layout):
            offsets[name] = position
            position += self.layout[name].numel()
        return offsets

    @property
    def files(self) -> tuple[TensorFile, ...]:
        """See :class:`~taskbasis.vectors.columns.Columns`."""
        return ()

    def read(self, tensor: str, start: int, out: Tensor) -> None:
        """See :class:`~taskbasis.vectors.columns.Columns`."""
        first = self._offsets[tensor] + start
        last = first + out.shape[1]
        columns = out.numpy()
        for block in range(first // BLOCK, -(-last // BLOCK)):
            begin = block * BLOCK
            low, high = max(first, begin), min(last, begin + BLOCK)
            for column in range(self.count):
                values = _block(self.seed, column, block)
                columns[column, low - first : high - first] = values[low - begin : high - begin]


@lru_cache(maxsize=256)
def _block(seed: int, column: int, block: int) -> NDArray[np.float32]:
    bits = np.random.Philox(counter=[0, 0, 0, block], key=[seed, column])
    return np.random.Generator(bits).standard_normal(BLOCK, dtype=np.float32)
