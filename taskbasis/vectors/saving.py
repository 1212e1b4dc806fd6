"""Streaming vectors and merged models to disk: one pass over the sources, nothing held but a chunk."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taskbasis.errors import VectorError
from taskbasis.vectors.columns import Columns, blame
from taskbasis.vectors.files import TensorFile
from taskbasis.vectors.layout import Chunk, cut
from taskbasis.vectors.passes import Pass, Scratch
from taskbasis.vectors.shard import Entry
from taskbasis.vectors.writer import SUFFIX, TensorWriter


def stream(
    columns: Columns,
    count: int,
    precision: torch.dtype,
    consume: Callable[[Chunk, Tensor], None],
    how: Pass,
) -> None:
    """Call ``consume(chunk, values)`` for every chunk, from several threads in any order.

    ``values`` has shape (count, n) and may be overwritten.

    Raises:
        VectorError: naming the file and tensor with a value that is not finite.
    """
    scratch = Scratch()

    def work(chunk: Chunk) -> None:
        values = scratch.take(count, len(chunk), precision)
        columns.read(chunk.tensor, chunk.start, values)
        if not math.isfinite(float(values.sum())):
            blame(columns, [chunk.tensor])
        consume(chunk, values)

    for _ in how.run(work, list(cut(columns.layout, count)), len):
        pass


def save_vectors(
    columns: Columns,
    paths: Mapping[str, Path],
    how: Pass,
    *,
    precision: torch.dtype,
    dtype: torch.dtype,
    max_shard_bytes: int | None,
    sha256: dict[Path, str] | None = None,
) -> dict[str, Path]:
    """Write every column to its path in one pass; what to open each by.

    ``sha256`` takes up the hashes of the files, which are made as they are written.
    """
    entries = {name: Entry(dtype, shape) for name, shape in columns.layout.items()}
    options: dict[str, Any] = {"max_shard_bytes": max_shard_bytes, "hashed": sha256 is not None}
    with ExitStack() as stack:
        writers = [stack.enter_context(TensorWriter(path, entries, **options)) for path in paths.values()]

        def consume(chunk: Chunk, values: Tensor) -> None:
            for writer, row in zip(writers, values, strict=True):
                writer.write(chunk.tensor, chunk.start, row)

        stream(columns, len(paths), precision, consume, how)
    if sha256 is not None:
        for writer in writers:
            sha256 |= writer.sha256
    return {name: writer.result for name, writer in zip(paths, writers, strict=True)}


def save_models(
    columns: Columns,
    paths: Mapping[str, Path],
    how: Pass,
    *,
    theta0: TensorFile,
    alpha: float,
    precision: torch.dtype,
    dtype: torch.dtype | None,
    max_shard_bytes: int | None,
) -> dict[str, Path]:
    """Write θ₀ + α·v for every column v in one pass; what to open each by.

    Tensors that the columns do not have are those of θ₀.
    """
    entries = {
        name: Entry(stored if dtype is None or not stored.is_floating_point else dtype, theta0.shapes[name])
        for name, stored in theta0.dtypes.items()
    }
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                TensorWriter(path, entries, metadata=theta0.metadata, max_shard_bytes=max_shard_bytes)
            )
            for path in paths.values()
        ]
        for name in entries.keys() - columns.layout.keys():
            _carry(theta0, name, writers)

        def consume(chunk: Chunk, values: Tensor) -> None:
            origin = theta0.elements(chunk.tensor, chunk.start, chunk.stop).to(precision)
            values.mul_(alpha).add_(origin)
            if not math.isfinite(float(values.sum())):
                blame_model(theta0, chunk.tensor)
            for writer, row in zip(writers, values, strict=True):
                writer.write(chunk.tensor, chunk.start, row)

        stream(columns, len(paths), precision, consume, how)
    return {name: writer.result for name, writer in zip(paths, writers, strict=True)}


def file_paths(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """``<folder>/<name>.safetensors`` for every name.

    Raises:
        VectorError: if a name is not a plain file name.
    """
    for name in names:
        if not name or Path(name).name != name:
            raise VectorError(f"the column name {name!r} cannot be a file name; rename the column")
    return {name: folder / f"{name}{SUFFIX}" for name in names}


def blame_model(theta0: TensorFile, tensor: str) -> None:
    """Find what made a value of θ₀ + α·v that is not finite, v being finite.

    Raises:
        VectorError: naming the file and tensor, always.
    """
    if torch.isfinite(theta0.read(tensor)).all():
        raise VectorError(f"{tensor!r} of the merged model overflowed; choose a smaller alpha")
    raise VectorError(f"{theta0.path}: the tensor {tensor!r} has a value that is not finite")


def _carry(theta0: TensorFile, name: str, writers: Sequence[TensorWriter]) -> None:
    for chunk in cut({name: theta0.shapes[name]}, 1):
        values = theta0.elements(name, chunk.start, chunk.stop)
        for writer in writers:
            writer.write(name, chunk.start, values)
