"""What every importer of weights produces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from taskbasis.errors import ImporterError
from taskbasis.vectors.shard import Entry
from taskbasis.vectors.writer import TensorWriter

HEAD = "head"
"""The kind of classification heads."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, usually mapped from the file they came from."""

    kind: str
    """What the file is, such as ``encoder``."""
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else the file said that matters, such as the activation; kept as metadata."""

    @property
    def is_head(self) -> bool:
        """Whether it is a classification head, pickled or converted already."""
        return HEAD in (self.kind, self.facts.get("kind"))

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

    def check_activation(self, path: Path, model: str, quick_gelu: bool) -> None:
        """Refuse weights of another activation than the model's; those that say nothing are believed.

        Raises:
            ImporterError: naming both.
        """
        said = self.facts.get("quick_gelu", str(quick_gelu).lower())
        if said != str(quick_gelu).lower():
            kind, other = ("QuickGELU", "GELU") if said == "true" else ("GELU", "QuickGELU")
            raise ImporterError(f"{path} was trained with {kind}, the model {model} has {other}")


def check_layout(path: Path, found: Mapping[str, torch.Size], wanted: Mapping[str, torch.Size]) -> None:
    """Refuse weights of another architecture.

    Args:
        path: of the weights, for messages.
        found: their shapes by tensor name.
        wanted: those of the model.

    Raises:
        ImporterError: naming the first tensor that differs.
    """
    for name, shape in wanted.items():
        if name not in found:
            raise ImporterError(f"{path} is of another architecture than the model: it has no {name}")
        if found[name] != shape:
            shapes = " instead of ".join(str(tuple(size)) for size in (found[name], shape))
            raise ImporterError(
                f"{path} is of another architecture than the model: {name} has shape {shapes}"
            )
    if more := [name for name in found if name not in wanted]:
        raise ImporterError(f"{path} is of another architecture than the model: it also has {more[0]}")


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Shapes by tensor name."""
    return {name: tensor.shape for name, tensor in tensors.items()}


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors, with ``prefix`` taken off their names if all of them have it."""
    if tensors and all(name.startswith(prefix) for name in tensors):
        return {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
    return dict(tensors)
