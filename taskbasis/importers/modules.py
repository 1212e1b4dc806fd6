"""Whole modules pickled by the task-arithmetic lineage: image encoders and classification heads.

Only their tensors are taken, and from the classes that the pickle names, the activation: weights trained
with QuickGELU in a model with GELU are silently wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from torch import Tensor

from taskbasis.errors import ImporterError
from taskbasis.importers.checkpoint import HEAD, Checkpoint, without_prefix
from taskbasis.importers.machine import Inert

ENCODER = "encoder"
_DEPTH = 64
"""Modules within modules; real ones have eight."""


def import_module(path: Path, root: Inert) -> Checkpoint:
    """The state dict of a pickled module, named as ``state_dict()`` would but without ``model.``.

    Raises:
        ImporterError: if the object is not a module, or its activation is not known.
    """
    tensors = dict(_tensors(path, root, "", 0))
    if not tensors:
        raise ImporterError(f"{path} holds a {root.NAME}, which has no tensors")
    facts = {"class": root.NAME}
    if root.NAME.endswith(".ClassificationHead"):
        return Checkpoint(
            HEAD, tensors, facts | {"normalize": str(bool(root.state.get("normalize"))).lower()}
        )
    quick = _quick_gelu(path, root)
    return Checkpoint(ENCODER, without_prefix(tensors, "model."), facts | {"quick_gelu": str(quick).lower()})


def _tensors(path: Path, module: Any, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers of a pickled module and those within it, in its own order."""
    if depth > _DEPTH:
        raise ImporterError(f"{path}: modules are nested more than {_DEPTH} deep at {prefix[:80]!r}")
    skipped = _not_persistent(path, module)
    for kind in ("_parameters", "_buffers"):
        for name, tensor in _named(path, module, kind).items():
            if tensor is None or (kind == "_buffers" and name in skipped):
                continue
            if not isinstance(tensor, Tensor):
                raise ImporterError(f"{path}: {prefix}{name} is {type(tensor).__name__}, not a tensor")
            yield prefix + name, tensor
    for name, child in _named(path, module, "_modules").items():
        if child is not None:
            yield from _tensors(path, child, f"{prefix}{name}.", depth + 1)


def _state(path: Path, module: Any) -> Mapping[str, Any]:
    if not isinstance(module, Inert) or not isinstance(module.state, Mapping):
        raise ImporterError(f"{path}: {str(type(module).__name__)[:80]} where a pickled module should be")
    return module.state


def _named(path: Path, module: Any, kind: str) -> Mapping[str, Any]:
    """What a module has of a kind, by name; nothing if the kind is not there."""
    found = _state(path, module).get(kind, {})
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise ImporterError(
            f"{path}: {kind} of a {module.NAME} is {type(found).__name__}, not a dict by name"
        )
    return found


def _not_persistent(path: Path, module: Any) -> Set[str]:
    found = _state(path, module).get("_non_persistent_buffers_set", set())
    if not isinstance(found, Set):
        raise ImporterError(f"{path}: the buffers of a {module.NAME} are not known to be persistent or not")
    return found


def _quick_gelu(path: Path, root: Inert) -> bool:
    """Whether the activation of the visual tower is QuickGELU.

    Raises:
        ImporterError: if there is neither QuickGELU nor GELU in it, or both.
    """
    kinds = {name for name in _classes(path, root, 0) if name in ("QuickGELU", "GELU")}
    if len(kinds) != 1:
        raise ImporterError(
            f"{path}: the activation is {sorted(kinds) or 'unknown'}; QuickGELU or GELU is needed"
        )
    return kinds == {"QuickGELU"}


def _classes(path: Path, module: Any, depth: int) -> Iterator[str]:
    yield module.NAME.rsplit(".", 1)[-1]
    children = _named(path, module, "_modules")
    # Text sides may have another activation, and are no part of the image encoder.
    if depth <= 1 and "visual" in children:
        children = {"visual": children["visual"]}
    for child in children.values():
        if child is not None:
            yield from _classes(path, child, depth + 1)
