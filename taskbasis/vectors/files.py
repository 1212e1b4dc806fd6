"""Reading and writing safetensors files tensor by tensor."""

from __future__ import annotations

import json
import os
import struct
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from taskbasis.errors import VectorError

_DTYPE_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}


class TensorFile:
    """A safetensors file, opened lazily and memory-mapped: only what is looked at is read.

    Raises:
        VectorError: on opening, if the file is missing, truncated or not safetensors.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        _ = self._handle

    def __reduce__(self) -> tuple[type[TensorFile], tuple[Path]]:
        return TensorFile, (self.path,)

    @cached_property
    def _handle(self) -> Any:
        if not self.path.is_file():
            raise VectorError(f"no such file: {self.path}")
        try:
            return safe_open(self.path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise VectorError(f"{self.path} is not a readable safetensors file: {error}") from error

    @cached_property
    def layout(self) -> dict[str, torch.Size]:
        """Shapes of the floating-point tensors by name, in sorted order."""
        slices = {name: self._handle.get_slice(name) for name in sorted(self._handle.keys())}
        return {
            name: torch.Size(s.get_shape())
            for name, s in slices.items()
            if s.get_dtype() in _DTYPE_NAMES.values()
        }

    @property
    def metadata(self) -> dict[str, str]:
        """The file's string metadata."""
        return dict(self._handle.metadata() or {})

    def read(self, name: str) -> Tensor:
        """One tensor, as a view on the mapped file, at its stored dtype."""
        tensor: Tensor = self._handle.get_tensor(name)
        return tensor

    def read_all(self) -> dict[str, Tensor]:
        """All floating-point tensors by name, as views on the mapped file."""
        return {name: self.read(name) for name in self.layout}


class TensorWriter:
    """Writes a safetensors file in order, holding nothing: the header first, then the tensors.

    The file appears under its name only when all tensors were written; on an exception it is removed.

    Args:
        path: the file to make.
        layout: shapes by tensor name; tensors are written in this order.
        dtype: the stored dtype of all tensors.
        metadata: string metadata for the header.
    """

    def __init__(
        self,
        path: Path,
        layout: Mapping[str, torch.Size],
        dtype: torch.dtype = torch.float32,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        if dtype not in _DTYPE_NAMES:
            raise VectorError(f"cannot store dtype {dtype}; use one of {sorted(map(str, _DTYPE_NAMES))}")
        self.path, self.dtype = path, dtype
        self._left = sum(shape.numel() for shape in layout.values())
        self._temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._temporary.open("wb")
        self._file.write(_header(layout, dtype, metadata or {}))

    def write(self, values: Tensor) -> None:
        """Append ``values``, the next elements of the file in row-major order, of any shape."""
        data = values.detach().to("cpu", self.dtype).contiguous().reshape(-1)
        self._left -= data.numel()
        self._file.write(data.view(torch.uint8).numpy().data)

    def __enter__(self) -> TensorWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if kind is None and self._left:
                raise VectorError(f"{self.path}: {self._left} elements were not written")
            if kind is None:
                os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)


def _header(layout: Mapping[str, torch.Size], dtype: torch.dtype, metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, shape in layout.items():
        end = offset + shape.numel() * dtype.itemsize
        entries[name] = {"dtype": _DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
