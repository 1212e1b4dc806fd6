"""Plain state dicts saved by ``torch.save``, such as those of the TALL-masks checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from taskbasis.errors import ImporterError
from taskbasis.importers.checkpoint import Checkpoint, without_prefix


def is_state_dict(value: Any) -> bool:
    """Whether ``value`` is a mapping from names to tensors, alone or under the key ``state_dict``."""
    inner = value.get("state_dict", value) if isinstance(value, Mapping) else None
    return isinstance(inner, Mapping) and any(isinstance(v, Tensor) for v in inner.values())


def import_state_dict(path: Path, value: Mapping[str, Any]) -> Checkpoint:
    """The tensors of a state dict; a ``module.`` or ``model.`` that all names begin with is taken off.

    Raises:
        ImporterError: naming an entry that is no tensor.
    """
    tensors = value.get("state_dict", value)
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ImporterError(
                f"{path}: the entry {name!r} of the state dict is {type(tensor).__name__}, not a tensor"
            )
    return Checkpoint("state dict", without_prefix(without_prefix(tensors, "module."), "model."))
