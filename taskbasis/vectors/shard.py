"""One safetensors file being written: its header first, then pieces of tensors at any place."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import struct
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taskbasis.errors import VectorError
from taskbasis.vectors.files import FLOATS, INTEGERS

DTYPE_NAMES = {dtype: name for name, dtype in (FLOATS | INTEGERS).items()}
"""Dtypes that can be stored, by their names in safetensors headers."""
FLUSH = 64 << 20
"""Bytes after which the disk is set to work: what is left to the end, everyone waits for."""


@dataclass(frozen=True)
class Entry:
    """Dtype and shape of one tensor of a checkpoint."""

    dtype: torch.dtype
    shape: torch.Size

    @property
    def size(self) -> int:
        """Bytes."""
        return self.shape.numel() * self.dtype.itemsize


class Shard:
    """A file under a temporary name, written from any number of threads.

    Args:
        path: what it will be called.
        entries: dtype and shape of its tensors, in their order in the file.
        metadata: string metadata for the header.
        disk: waits for the disk meanwhile.
        hashed: whether its sha256 is made as it is written.

    Raises:
        VectorError: by any method, if the file cannot be written; on :meth:`close`, if bytes are missing.
    """

    def __init__(
        self,
        path: Path,
        entries: Mapping[str, Entry],
        metadata: Mapping[str, str],
        *,
        disk: Executor,
        hashed: bool,
    ) -> None:
        self.path, self.entries, self._disk = path, entries, disk
        self.temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        self._header, self._offsets, self._size = _header(entries, metadata)
        self._unflushed, self._left = 0, sum(entry.size for entry in entries.values())
        self._hash = _Follower() if hashed else None
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._flushes: list[Future[None]] = []

    @property
    def sha256(self) -> str:
        """Hexadecimal hash of the whole file, when it is closed."""
        assert self._hash is not None
        return self._hash.value

    def open(self) -> None:
        """Make the file, with all its space reserved where that can be."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
            _reserve(self._descriptor, self._size)
        except OSError as error:
            raise VectorError(f"cannot write {self.path}: {error.strerror}") from error
        self._put(memoryview(self._header), 0)

    def write(self, tensor: str, offset: int, data: Tensor) -> None:
        """Write contiguous elements from byte ``offset`` of a tensor."""
        # File systems let one writer at a time into a file; others would wait in a busy loop.
        with self._lock:
            self._put(data.view(torch.uint8).numpy().data, self._offsets[tensor] + offset)
            self._left -= data.numel() * data.itemsize
            if self._unflushed >= FLUSH or not self._left:
                self._flush()

    def close(self) -> None:
        """Wait until the file is on the disk; it must be complete."""
        if self._left:
            raise VectorError(f"{self.path}: {self._left} bytes were not written")
        self._flush()
        try:
            for flush in self._flushes:
                flush.result()
        except OSError as error:
            raise VectorError(f"cannot write {self.path}: {error.strerror}") from error

    def discard(self) -> None:
        """Close the file and remove it unless it was renamed; nothing may wait for the disk any more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self.temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        assert self._descriptor is not None
        if self._unflushed:
            self._flushes.append(self._disk.submit(os.fsync, self._descriptor))
        self._unflushed = 0

    def _put(self, data: memoryview, begin: int) -> None:
        assert self._descriptor is not None
        left, offset = data, begin
        try:
            while left:
                written = os.pwrite(self._descriptor, left, offset)
                left, offset = left[written:], offset + written
        except OSError as error:
            raise VectorError(f"cannot write {self.path}: {error.strerror}") from error
        self._unflushed += len(data)
        if self._hash and data:
            self._hash.follow(self._descriptor, begin, data)


class _Follower:
    """The sha256 of a file that is written in pieces; most of them come in order and are not read again."""

    def __init__(self) -> None:
        self._state, self._place = hashlib.sha256(), 0
        self._early: dict[int, int] = {}

    @property
    def value(self) -> str:
        assert not self._early
        return self._state.hexdigest()

    def follow(self, descriptor: int, begin: int, data: memoryview) -> None:
        """Take up ``data``, just written from byte ``begin`` on; nothing is written twice."""
        if begin != self._place:
            self._early[begin] = len(data)
            return
        self._advance(data)
        while self._place in self._early:
            self._advance(os.pread(descriptor, self._early.pop(self._place), self._place))

    def _advance(self, data: memoryview | bytes) -> None:
        self._state.update(data)
        self._place += len(data)


def _reserve(descriptor: int, size: int) -> None:
    """Give a file its size and, where the file system can, its space: a full disk is found at once."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
    os.ftruncate(descriptor, size)


def _header(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> tuple[bytes, dict[str, int], int]:
    """The header's bytes, each tensor's place in the file, and the size of the whole file."""
    described: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset, relative = 0, {}
    for name, entry in entries.items():
        relative[name] = offset
        places = [offset, offset + entry.size]
        described[name] = {
            "dtype": DTYPE_NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": places,
        }
        offset += entry.size
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    begin = 8 + len(text)
    return struct.pack("<Q", len(text)) + text, {n: begin + o for n, o in relative.items()}, begin + offset
