"""Writing safetensors checkpoints at random places: the header first, then tensors in any order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from taskbasis.errors import VectorError
from taskbasis.store.atomic import sync_folder, write_json
from taskbasis.vectors.files import INDEX_SUFFIX
from taskbasis.vectors.shard import DTYPE_NAMES, Entry, Shard

SUFFIX = ".safetensors"


def forms(path: Path) -> re.Pattern[str]:
    """Names of the files that a checkpoint at ``path`` may consist of: itself, or shards and their index."""
    shard, index = r"(-\d{5}-of-\d{5})?" + re.escape(SUFFIX), re.escape(INDEX_SUFFIX)
    return re.compile(f"{re.escape(path.stem)}({shard}|{index})")


class TensorWriter:
    """Writes a safetensors checkpoint piece by piece, from any number of threads, holding nothing.

    The files appear under their names only when every element was written, and then replace what an
    earlier writer left under :func:`forms` of the path; on an exception nothing is left behind.

    Args:
        path: the file to make, ending in ``.safetensors``.
        entries: dtype and shape by tensor name; wider dtypes come first in the file, for alignment.
        metadata: string metadata for the header.
        max_shard_bytes: with more bytes of tensors than this, several files of at most this size (or one
            tensor) are written, and beside them ``<path>.index.json``, as Hugging Face does.
        hashed: whether :attr:`sha256` is made.

    Raises:
        VectorError: if the path has another ending or cannot be written, a dtype cannot be stored, or, on
            leaving the block, if elements were not written.
    """

    def __init__(
        self,
        path: Path,
        entries: Mapping[str, Entry],
        *,
        metadata: Mapping[str, str] | None = None,
        max_shard_bytes: int | None = None,
        hashed: bool = False,
    ) -> None:
        if path.suffix != SUFFIX:
            raise VectorError(f"cannot write {path}: the name of a checkpoint must end in {SUFFIX}")
        for name, entry in entries.items():
            if entry.dtype not in DTYPE_NAMES:
                accepted = ", ".join(map(str, DTYPE_NAMES))
                raise VectorError(f"{path}: cannot store {name!r} as {entry.dtype}; accepted: {accepted}")
        self.path, self.entries = path, entries
        ordered = dict(sorted(entries.items(), key=lambda item: -item[1].dtype.itemsize))
        # transformers refuses files that do not say which framework they are for.
        described = {"format": "pt"} | dict(metadata or {})
        self._disk = ThreadPoolExecutor(1)
        self._shards = [
            Shard(*part, described, disk=self._disk, hashed=hashed)
            for part in _cut(path, ordered, max_shard_bytes)
        ]
        self._home = {name: shard for shard in self._shards for name in shard.entries}

    @property
    def result(self) -> Path:
        """What to open the checkpoint by: the file, or the index of its shards."""
        return self.path if len(self._shards) == 1 else self.path.with_name(self.path.stem + INDEX_SUFFIX)

    @property
    def sha256(self) -> dict[Path, str]:
        """Hashes of the files of tensors, made while they were written; for use after the block."""
        return {shard.path: shard.sha256 for shard in self._shards}

    def write(self, tensor: str, start: int, values: Tensor) -> None:
        """Write elements from ``start`` of a flattened tensor, converted to its dtype.

        Raises:
            VectorError: if a value is finite, but not at that dtype, or the disk is full.
        """
        dtype = self.entries[tensor].dtype
        data = values.detach().to("cpu", dtype).contiguous().reshape(-1)
        if dtype == torch.float16 and not torch.isfinite(data).all():
            raise VectorError(f"{self.path}: {tensor!r} has values beyond the range of {dtype}")
        self._home[tensor].write(tensor, start * dtype.itemsize, data)

    def __enter__(self) -> TensorWriter:
        try:
            for shard in self._shards:
                shard.open()
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            self._discard()

    def _publish(self) -> None:
        for shard in self._shards:
            shard.close()
        for shard in self._shards:
            os.replace(shard.temporary, shard.path)
        if len(self._shards) > 1:
            weight_map = {name: shard.path.name for name, shard in self._home.items()}
            total = sum(entry.size for entry in self.entries.values())
            write_json(self.result, {"metadata": {"total_size": total}, "weight_map": weight_map})
        made = {self.result.name, *(shard.path.name for shard in self._shards)}
        for file in self.path.parent.iterdir():
            # A single file beside shards of older weights: who opens the folder might read either.
            if file.name not in made and forms(self.path).fullmatch(file.name):
                file.unlink()
        sync_folder(self.path.parent)

    def _discard(self) -> None:
        self._disk.shutdown(cancel_futures=True)
        for shard in self._shards:
            shard.discard()


def _cut(
    path: Path, entries: Mapping[str, Entry], most: int | None
) -> Iterator[tuple[Path, dict[str, Entry]]]:
    """Paths and tensors of shards of at most ``most`` bytes, or of one tensor that is larger."""
    groups: list[dict[str, Entry]] = [{}]
    held = 0
    for name, entry in entries.items():
        if most is not None and groups[-1] and held + entry.size > most:
            groups.append({})
            held = 0
        groups[-1][name] = entry
        held += entry.size
    for i, group in enumerate(groups, start=1):
        part = "" if len(groups) == 1 else f"-{i:05d}-of-{len(groups):05d}"
        yield path.with_name(f"{path.stem}{part}{SUFFIX}"), group
