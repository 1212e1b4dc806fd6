"""Reading safetensors checkpoints tensor by tensor: one file, or shards with an index."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from taskbasis.errors import VectorError

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Dtypes that form vectors, by their names in safetensors headers."""
INTEGERS = {"BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32}
INTEGERS |= {"I64": torch.int64, "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64}
"""Dtypes of counters, indices and masks, which are no directions: merged models take them from θ₀."""
INDEX_SUFFIX = ".safetensors.index.json"


class TensorFile:
    """A safetensors checkpoint, opened lazily and memory-mapped: only what is looked at is read.

    Args:
        path: a ``.safetensors`` file, a ``.safetensors.index.json`` that lists shards, or a folder that
            holds one of these.

    Raises:
        VectorError: on opening, if a file is missing, truncated or not safetensors, if the index names a
            tensor that its shard lacks, or if a tensor has a dtype that is neither a float of 16 bits or
            more nor an integer.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._flat: dict[str, Tensor] = {}
        _ = self.dtypes

    def __reduce__(self) -> tuple[type[TensorFile], tuple[Path]]:
        return TensorFile, (self.path,)

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The safetensors files that hold the tensors, one or several."""
        return tuple(sorted(set(self._homes.values())))

    @cached_property
    def dtypes(self) -> dict[str, torch.dtype]:
        """Stored dtypes by tensor name, in sorted order."""
        known = FLOATS | INTEGERS
        found = {name: str(self._slice(name).get_dtype()) for name in sorted(self._homes)}
        for name, dtype in found.items():
            if dtype not in known:
                raise VectorError(
                    f"{self.path}: the tensor {name!r} has dtype {dtype}; accepted: {', '.join(known)}"
                )
        return {name: known[dtype] for name, dtype in found.items()}

    @cached_property
    def shapes(self) -> dict[str, torch.Size]:
        """Shapes of all tensors by name, in sorted order."""
        return {name: torch.Size(self._slice(name).get_shape()) for name in self.dtypes}

    @cached_property
    def layout(self) -> dict[str, torch.Size]:
        """Shapes of the floating-point tensors by name, in sorted order."""
        return {n: shape for n, shape in self.shapes.items() if self.dtypes[n].is_floating_point}

    @property
    def metadata(self) -> dict[str, str]:
        """The string metadata of the (first) file; a checkpoint without tensors may have no file."""
        first = next(iter(self._handles.values()), None)
        return {} if first is None else dict(first.metadata() or {})

    def read(self, name: str) -> Tensor:
        """One tensor, as a view on the mapped file, at its stored dtype."""
        tensor: Tensor = self._handles[self._homes[name]].get_tensor(name)
        return tensor

    def read_all(self) -> dict[str, Tensor]:
        """All floating-point tensors by name, as views on the mapped file."""
        return {name: self.read(name) for name in self.layout}

    def elements(self, name: str, start: int, stop: int) -> Tensor:
        """Elements ``start:stop`` of a tensor in row-major order, shape (stop − start,), mapped."""
        flat = self._flat.get(name)
        if flat is None:
            flat = self._flat[name] = self.read(name).reshape(-1)
        return flat[start:stop]

    def _slice(self, name: str) -> Any:
        return self._handles[self._homes[name]].get_slice(name)

    @cached_property
    def _homes(self) -> dict[str, Path]:
        """The file of each tensor."""
        path = find_weights(self.path)
        if not path.name.endswith(INDEX_SUFFIX):
            self._handles = {path: _open(path)}
            return dict.fromkeys(self._handles[path].keys(), path)
        homes = _read_index(path)
        self._handles = {shard: _open(shard) for shard in sorted(set(homes.values()))}
        held = {shard: set(handle.keys()) for shard, handle in self._handles.items()}
        for name, shard in homes.items():
            if name not in held[shard]:
                raise VectorError(f"{path} says that {shard.name} holds {name!r}, which it does not")
        return homes


def find_weights(path: Path) -> Path:
    """The safetensors file or index that ``path`` stands for.

    Raises:
        VectorError: if there is none, or a folder holds several and no index.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise VectorError(f"no such file: {path}")
    for pattern in (f"*{INDEX_SUFFIX}", "*.safetensors"):
        found = sorted(path.glob(pattern))
        if len(found) > 1:
            raise VectorError(f"{path} holds several checkpoints: {[p.name for p in found[:5]]}; name one")
        if found:
            return found[0]
    raise VectorError(
        f"{path} holds no .safetensors file; it holds {sorted(p.name for p in path.iterdir())[:5]}"
    )


def _open(path: Path) -> Any:
    if not path.is_file():
        raise VectorError(f"no such file: {path}")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        hint = "; if it is a pickle, python -m taskbasis.convert makes safetensors of it"
        raise VectorError(f"{path} is not a readable safetensors file: {error}{hint}") from error


def _read_index(path: Path) -> dict[str, Path]:
    try:
        weight_map = json.loads(path.read_text())["weight_map"]
        shards = {str(name): str(shard) for name, shard in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VectorError(f"{path} is not a safetensors index with a weight_map: {error!r}") from error
    for shard in shards.values():
        if Path(shard).name != shard:
            raise VectorError(f"{path} names the shard {shard!r}, which is not a file beside it")
    return {name: path.parent / shard for name, shard in shards.items()}
