"""A restricted unpickler: it rebuilds tensors and containers, and runs nothing that a file names.

A pickle is a program: whatever it names is imported and called. Here a name never leads to an import. A
few are answered by functions of this file, names of the packages that checkpoints are made with become
inert classes that only record what they were given, and any other name ends the import.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from taskbasis.errors import ImporterError
from taskbasis.importers.archive import TorchArchive
from taskbasis.importers.machine import Function, Inert, Machine

STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
MODULE_PACKAGES = ("torch.nn", "torchvision.transforms", "open_clip", "clip", "src", "modeling")
"""Packages whose classes occur in pickled models of the task-arithmetic lineage."""
_DIMENSIONS = 64
"""Torch itself indexes no tensors of more."""


@dataclass(frozen=True)
class Loaded:
    """What a file held."""

    value: Any
    """Containers, numbers, strings, tensors mapped from the file, and
    :class:`~taskbasis.importers.machine.Inert` objects."""
    names: frozenset[str]
    """All globals that the pickle names, as ``module.name``."""


def load(path: Path, *, modules: bool = False) -> Loaded:
    """Read a file of ``torch.save`` without running anything of it.

    Args:
        path: the file.
        modules: whether classes of :data:`MODULE_PACKAGES` are accepted, as inert objects.

    Raises:
        ImporterError: naming what in the file is not data, out of bounds or damaged.
    """
    archive = TorchArchive(path)
    reader = _Reader(archive, modules)
    try:
        value = reader.load()
    except ImporterError:
        raise
    except Exception as error:
        # Whatever a malformed program provokes in the standard library, the file is at fault.
        raise ImporterError(f"{path} is damaged: its pickle ends in {error!r}") from error
    return Loaded(value, frozenset(reader.names))


class _Reader(Machine):
    def __init__(self, archive: TorchArchive, modules: bool) -> None:
        super().__init__(archive.path, archive.pickle)
        self._archive, self._modules = archive, modules
        self.names: set[str] = set()
        self._answers: dict[str, Any] = {
            "collections.OrderedDict": Function(lambda: OrderedDict()),
            "__builtin__.set": Function(self.make_set),
            "builtins.set": Function(self.make_set),
            "torch.Size": Function(lambda size=(): size),
            "torch._utils._rebuild_tensor_v2": Function(self._rebuild_tensor),
            "torch._utils._rebuild_parameter": Function(lambda data, *_: data),
            **{f"torch.{name}": _StorageType(dtype) for name, dtype in STORAGES.items()},
        }
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        self.names.add(full)
        if full in self._answers:
            return self._answers[full]
        if self._modules and any(module == p or module.startswith(f"{p}.") for p in MODULE_PACKAGES):
            self._answers[full] = type(name, (Inert,), {"NAME": full})
            return self._answers[full]
        raise ImporterError(
            f"{self.path} refers to {full}, which is not part of a checkpoint; nothing of it was run"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", _StorageType() as kind, str(key), str(), int(count)):
                pass
            case _:
                raise ImporterError(f"{self.path}: a {type(pid).__name__} does not describe a storage")
        if key not in self._storages:
            self._storages[key] = self._archive.storage(key)
        held = self._storages[key]
        if not 0 <= count * kind.dtype.itemsize <= held.numel():
            raise ImporterError(
                f"{self.path}: storage {key!r} should have {count} elements, but it has {held.numel()} bytes"
            )
        return _Storage(key, held[: count * kind.dtype.itemsize], kind.dtype)

    def _rebuild_tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        """A view of a storage, checked to lie within it."""
        if not isinstance(storage, _Storage) or not all(map(_is_extent, ((offset,), size, stride))):
            raise ImporterError(
                f"{self.path}: a tensor is not described by a storage, an offset, a shape and strides"
            )
        count = storage.data.numel() // storage.dtype.itemsize
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        total = 1
        for n in size:
            total *= n
        if total and (last >= count or total > count):
            raise ImporterError(
                f"{self.path}: a tensor of shape {tuple(size)}, strides {tuple(stride)} and offset "
                f"{offset} exceeds storage {storage.key!r} of {count} elements"
            )
        if not total:
            return torch.empty(tuple(size), dtype=storage.dtype)
        values = storage.values
        return values.as_strided(tuple(size), tuple(stride), values.storage_offset() + offset)


class _StorageType(NamedTuple):
    dtype: torch.dtype


class _Storage(NamedTuple):
    key: str
    data: Tensor
    dtype: torch.dtype

    @property
    def values(self) -> Tensor:
        aligned = self.data.storage_offset() % self.dtype.itemsize == 0
        return (self.data if aligned else self.data.clone()).view(self.dtype)


def _is_extent(numbers: Any) -> bool:
    """Whether these are the sizes or strides of a tensor."""
    return (
        type(numbers) is tuple
        and len(numbers) <= _DIMENSIONS
        and all(type(n) is int and n >= 0 for n in numbers)
    )
