"""What every importer of weights produces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from taskbasis.errors import ImporterError
from taskbasis.vectors.writer import Entry, TensorWriter


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, usually mapped from the file they came from."""

    kind: str
    """What the file is, such as ``encoder``."""
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else the file said that matters, such as the activation; kept as metadata."""

    def save(self, path: Path) -> Path:
        """Write the tensors as safetensors, one after the other; the path.

        Raises:
            ImporterError: naming a tensor with a value that is not finite.
            VectorError: if the file cannot be written or a dtype cannot be stored.
        """
        entries = {name: Entry(tensor.dtype, tensor.shape) for name, tensor in self.tensors.items()}
        metadata = {"kind": self.kind, **self.facts}
        with TensorWriter(path, entries, metadata=metadata) as writer:
            for name, tensor in self.tensors.items():
                if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                    raise ImporterError(f"the tensor {name!r} has a value that is not finite")
                writer.write(name, 0, tensor)
        return path


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors, with ``prefix`` taken off their names if all of them have it."""
    if tensors and all(name.startswith(prefix) for name in tensors):
        return {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
    return dict(tensors)
