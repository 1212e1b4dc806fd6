"""The one streaming pass behind every Gram matrix: inner products of columns, summed over chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from taskbasis.errors import VectorError
from taskbasis.vectors.columns import Columns, blame
from taskbasis.vectors.gram import Gram, bordered
from taskbasis.vectors.layout import Block, Chunk, cut
from taskbasis.vectors.passes import Pass, Scratch

if TYPE_CHECKING:
    from lightning.fabric import Fabric

BLOCK = 1 << 21
"""Elements of each column that one piece of work sums up."""

Multiply = Callable[[Block], Tensor]
"""Σ X[rows]·Xᵀ over the chunks X of a block: float64 of shape (R, K), on the CPU."""


@dataclass(frozen=True)
class OnHost:
    """Products by the CPU, at ``precision`` within a chunk and in float64 between chunks."""

    columns: Columns
    count: int
    """K, the number of columns."""
    rows: Sequence[int] | None
    """The R rows that are wanted; None for all K."""
    precision: torch.dtype
    _scratch: Scratch = field(default_factory=Scratch, repr=False)

    def __call__(self, block: Block) -> Tensor:
        """See :data:`Multiply`."""
        K, rows = self.count, self.rows
        total = torch.zeros(K if rows is None else len(rows), K, dtype=torch.float64)
        # BLAS kernels take rows in groups; rows of zeros complete the last group and change no sum.
        padded = -(-K // 4) * 4
        for chunk in block:
            X = self._scratch.take(padded, len(chunk), self.precision)
            X[K:].zero_()
            self.columns.read(chunk.tensor, chunk.start, X[:K])
            x = X.numpy()
            # An array times its own transpose takes numpy half the operations (BLAS syrk), and np.dot, unlike
            # the operator @, does them without the interpreter's lock.
            with np.errstate(invalid="ignore", over="ignore"):
                product = np.dot(x, x.T)[:K, :K] if rows is None else np.dot(x[list(rows)], x[:K].T)
            total += torch.from_numpy(product)
        return total


def stream_gram(
    columns: Columns,
    names: Sequence[str],
    known: Gram | None,
    *,
    precision: torch.dtype,
    device: str,
    how: Pass,
    fabric: Fabric | None,
) -> Gram:
    """The Gram matrix of ``columns``; see :meth:`taskbasis.vectors.VectorSet.gram`."""
    if known is not None and (strange := sorted(set(known.names) - set(names))):
        raise VectorError(f"the known Gram matrix has {strange}, which are not among {list(names)}")
    rows = None if known is None else [i for i, name in enumerate(names) if name not in known.names]
    K = len(names)
    products = inner_products(
        multiplier(columns, K, rows, precision, device),
        (K if rows is None else len(rows), K),
        [] if rows == [] else list(cut_blocks(columns, K)),
        how,
        fabric,
    )
    if not torch.isfinite(products).all():
        blame(columns, list(columns.layout))
    if known is None or rows is None:
        return Gram((products + products.T) / 2, tuple(names))
    return bordered(known, names, rows, products)


def multiplier(
    columns: Columns, count: int, rows: Sequence[int] | None, precision: torch.dtype, device: str
) -> Multiply:
    """What computes the products of a block on ``device``.

    Raises:
        VectorError: if there is no such device here.
    """
    if device == "cpu":
        return OnHost(columns, count, rows, precision)
    if not device.startswith("cuda") or not torch.cuda.is_available():
        raise VectorError(f"device={device!r}: accepted are cpu and, where there is a GPU, cuda")
    from taskbasis.vectors.cuda import OnDevice

    return OnDevice(columns, count, rows, precision, torch.device(device))


def inner_products(
    multiply: Multiply, shape: tuple[int, int], blocks: Sequence[Block], how: Pass, fabric: Fabric | None
) -> Tensor:
    """The sum of ``multiply(block)``, of shape (R, K), over all blocks.

    It has the same bits for any number of threads and ranks: blocks are cut by the layout alone, each is
    computed by one thread, and their sums are added in order.
    """
    whole = torch.zeros(shape, dtype=torch.float64)
    parts = _shared(multiply, shape, blocks, how, fabric) if fabric else how.run(multiply, blocks, size)
    for part in parts:
        whole += part
    return whole


def _shared(
    multiply: Multiply, shape: tuple[int, int], blocks: Sequence[Block], how: Pass, fabric: Fabric
) -> Tensor:
    """``multiply(block)`` of all blocks, each computed by one of the ranks."""
    mine = range(fabric.global_rank, len(blocks), fabric.world_size)
    sums = torch.zeros(len(blocks), *shape, dtype=torch.float64)
    for i, product in zip(mine, how.run(multiply, [blocks[i] for i in mine], size), strict=True):
        sums[i] = product
    # Each entry is zero on all ranks but one, so that this sum rounds nothing.
    reduced = fabric.all_reduce(sums.to(fabric.device), reduce_op="sum")
    assert isinstance(reduced, Tensor)
    return reduced.cpu()


def cut_blocks(columns: Columns, count: int) -> Iterator[Block]:
    """Runs of chunks of about :data:`BLOCK` elements per column, covering whole vectors in order."""
    block: list[Chunk] = []
    for chunk in cut(columns.layout, count):
        block.append(chunk)
        if size(block) >= BLOCK:
            yield block
            block = []
    if block:
        yield block


def size(block: Block) -> int:
    """Elements of each column in a block."""
    return sum(map(len, block))
