"""Folders in which the published code of arXiv 2502.01015 keeps a basis: one reader per method.

Every folder has ``basis_vectors.pt`` and ``method_info.json``; the matrices lie in ``AWB.pt``,
``pca_components.pt``, ``random_basis.pt`` or ``random_selection.json``. None of them has the Gram matrix,
so that losses of an imported basis are not known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taskbasis.basis import Basis, Diagnostics
from taskbasis.basis.storage import OFFSET, atom_names
from taskbasis.errors import ImporterError
from taskbasis.importers.checkpoint import without_prefix
from taskbasis.importers.unpickler import load
from taskbasis.vectors import VectorSet
from taskbasis.vectors.files import TensorFile
from taskbasis.vectors.layout import ALL, Layout, Selection

VECTORS, INFO = "basis_vectors.pt", "method_info.json"


@dataclass(frozen=True)
class Held:
    """Columns of tensors that are mapped or in memory (see :class:`~taskbasis.vectors.columns.Columns`)."""

    tensors: tuple[Mapping[str, Tensor], ...]

    @property
    def layout(self) -> Layout:
        """See :class:`~taskbasis.vectors.columns.Columns`."""
        return {name: self.tensors[0][name].shape for name in sorted(self.tensors[0])}

    @property
    def files(self) -> tuple[TensorFile, ...]:
        """See :class:`~taskbasis.vectors.columns.Columns`."""
        return ()

    def read(self, tensor: str, start: int, out: Tensor) -> None:
        """See :class:`~taskbasis.vectors.columns.Columns`."""
        for row, column in zip(out, self.tensors, strict=True):
            row.copy_(column[tensor].reshape(-1)[start : start + out.shape[1]])


@dataclass(frozen=True)
class ImportedRun:
    """A basis of the published code, with its vectors mapped from the files."""

    basis: Basis
    vectors: VectorSet
    """The atoms, and the offset's vector last where there is one, as :meth:`Basis.save` takes them."""


@dataclass(frozen=True)
class _Parts:
    """What one method's files say."""

    method: str
    encoder: Tensor
    decoder: Tensor
    sources: tuple[str, ...]
    parameters: Mapping[str, Any]
    mean: dict[str, Tensor] | None = None


def is_run(folder: Path) -> bool:
    """Whether a folder looks like a basis of the published code."""
    return (folder / VECTORS).is_file()


def import_run(folder: Path, select: Selection = ALL) -> ImportedRun:
    """Read a basis folder of the published code, with the tensors that ``select`` chooses.

    Raises:
        ImporterError: naming the file that is missing, damaged, of another method or does not fit.
    """
    info = _json(folder / INFO)
    method = str(info.get("method"))
    if method not in _READERS:
        raise ImporterError(
            f"{folder / INFO}: method {method!r} is not known; accepted: {', '.join(_READERS)}"
        )
    tasks = _tasks(folder / INFO, info)
    atoms = _atoms(folder / VECTORS)
    parts = _READERS[method](folder, tasks, info)
    M, T = len(atoms), len(tasks)
    expected = ((len(parts.sources), M), (M, T))
    if (tuple(parts.encoder.shape), tuple(parts.decoder.shape)) != expected:
        raise ImporterError(
            f"{folder}: matrices of shape {tuple(parts.encoder.shape)} and {tuple(parts.decoder.shape)} "
            f"do not fit {M} vectors of {T} tasks"
        )
    columns = dict(zip(atom_names(M), atoms, strict=True))
    if parts.mean is not None:
        columns[OFFSET] = parts.mean
    return ImportedRun(_basis(parts, tasks), _vectors(folder, columns, select))


def _tasks(path: Path, info: Mapping[str, Any]) -> tuple[str, ...]:
    tasks = info.get("datasets")
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, str) for task in tasks):
        raise ImporterError(f"{path} has no 'datasets', a list of the names of tasks")
    return tuple(tasks)


def _basis(parts: _Parts, tasks: tuple[str, ...]) -> Basis:
    T = len(tasks)
    unknown = float("nan")
    return Basis(
        method=parts.method,
        parameters={**parts.parameters, "imported": True},
        encoder=parts.encoder,
        decoder=parts.decoder,
        offset=None if parts.mean is None else torch.full((T,), 1 / T, dtype=torch.float64),
        sources=parts.sources,
        tasks=tasks,
        diagnostics=Diagnostics(
            loss=unknown,
            spectral_bound=unknown,
            attainable=False,
            relative_error=unknown,
            condition=unknown,
            row_sums=tuple(parts.encoder.sum(dim=1).tolist()),
        ),
    )


def _vectors(folder: Path, columns: Mapping[str, Mapping[str, Tensor]], select: Selection) -> VectorSet:
    """The selected tensors of named columns."""
    chosen = {
        name: {key: tensor for key, tensor in column.items() if select(key)}
        for name, column in columns.items()
    }
    first, *_ = chosen
    shapes = {key: tensor.shape for key, tensor in chosen[first].items()}
    if not shapes:
        raise ImporterError(f"{folder}: the vectors have no tensor{select}")
    for name, column in chosen.items():
        if {key: tensor.shape for key, tensor in column.items()} != shapes:
            raise ImporterError(f"{folder}: {name} has other tensors than {first}")
    return VectorSet(tuple(chosen), Held(tuple(chosen.values())))


def _autoencoder(folder: Path, tasks: tuple[str, ...], info: Mapping[str, Any]) -> _Parts:
    # W was saved as it is applied; the published loader applies its softmax to it once more.
    stored = _mapping(folder / "AWB.pt", {"B": 2, "W": 2})
    keys = ("seed", "steps", "lr", "tau_init", "weight_decay", "encoder", "w_activation", "softmax_w")
    settings = {key: info[key] for key in keys if key in info}
    return _Parts("ae", stored["B"].double(), stored["W"].double(), tasks, settings)


def _pca(folder: Path, tasks: tuple[str, ...], info: Mapping[str, Any]) -> _Parts:
    path = folder / "pca_components.pt"
    stored = _mapping(path, {"coefficients": 2, "mean_vector": 1})
    decoder = stored["coefficients"].double()
    encoder = decoder.T - decoder.T.mean(dim=0)
    return _Parts("pca", encoder, decoder, tasks, {"center": True}, _unflattened(path, stored))


def _random(folder: Path, tasks: tuple[str, ...], info: Mapping[str, Any]) -> _Parts:
    # Its vectors are no combinations of task vectors: they are their own sources.
    path = folder / "random_basis.pt"
    stored = _mapping(path, {"projection_coefficients": 2})
    seed = stored.get("seed")
    if not isinstance(seed, int | None):
        raise ImporterError(f"{path}: 'seed' is a {type(seed).__name__}, not a number")
    decoder = stored["projection_coefficients"].double()
    eye = torch.eye(len(decoder), dtype=torch.float64)
    return _Parts("random", eye, decoder, atom_names(len(decoder)), {"seed": seed})


def _random_sample(folder: Path, tasks: tuple[str, ...], info: Mapping[str, Any]) -> _Parts:
    # The published code stores no decoder: only the chosen tasks can be reconstructed.
    path = folder / "random_selection.json"
    chosen = _json(path).get("selected_indices", [])
    if not isinstance(chosen, list) or not all(type(i) is int and 0 <= i < len(tasks) for i in chosen):
        raise ImporterError(f"{path}: selected_indices={chosen} are not tasks 0 … {len(tasks) - 1}")
    encoder = torch.eye(len(tasks), dtype=torch.float64)[:, chosen]
    return _Parts("random_sample", encoder, encoder.T.contiguous(), tasks, {"seed": info.get("seed")})


_READERS: Mapping[str, Callable[[Path, tuple[str, ...], Mapping[str, Any]], _Parts]] = {
    "AutoencoderBasisMethod": _autoencoder,
    "PCABasisMethod": _pca,
    "RandomBasisMethod": _random,
    "RandomSampleMethod": _random_sample,
}


def _atoms(path: Path) -> list[dict[str, Tensor]]:
    stored = _mapping(path, {})
    vectors = stored.get("basis_vectors")
    if not isinstance(vectors, list) or not vectors:
        raise ImporterError(f"{path} has no list of basis_vectors")
    for vector in vectors:
        if not isinstance(vector, Mapping) or not all(
            isinstance(name, str) and isinstance(value, Tensor) for name, value in vector.items()
        ):
            raise ImporterError(f"{path}: a basis vector is not a mapping from names to tensors")
    return [without_prefix(vector, "model.") for vector in vectors]


def _unflattened(path: Path, stored: Mapping[str, Any]) -> dict[str, Tensor]:
    """The mean vector cut into tensors by ``keys_order`` and ``param_shapes``."""
    mean, shapes = stored["mean_vector"], _shapes(path, stored)
    sizes = [math.prod(shape) for shape in shapes.values()]
    if sum(sizes) != mean.numel():
        raise ImporterError(f"{path}: the mean has {mean.numel()} elements, its tensors have {sum(sizes)}")
    parts = torch.split(mean, sizes)
    cut = {key: part.view(shapes[key]) for key, part in zip(shapes, parts, strict=True)}
    return without_prefix(cut, "model.")


def _shapes(path: Path, stored: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    order, shapes = stored.get("keys_order"), stored.get("param_shapes")
    if not isinstance(order, list | tuple) or not all(isinstance(key, str) for key in order):
        raise ImporterError(f"{path} has no 'keys_order', a list of the names of tensors")
    if not isinstance(shapes, Mapping):
        raise ImporterError(f"{path} has no 'param_shapes', a dict from the names of tensors to their shapes")
    for key in order:
        if not isinstance(shape := shapes.get(key), list | tuple) or not all(
            type(n) is int and n >= 0 for n in shape
        ):
            raise ImporterError(f"{path}: 'param_shapes' has no shape of {key!r}, which 'keys_order' names")
    return {key: tuple(shapes[key]) for key in order}


def _mapping(path: Path, matrices: Mapping[str, int]) -> Mapping[str, Any]:
    """A pickled dict that has the given tensors, by their number of dimensions."""
    value = load(path).value
    if not isinstance(value, Mapping):
        raise ImporterError(f"{path} holds a {type(value).__name__}, not a mapping")
    for name, dimensions in matrices.items():
        if not isinstance(tensor := value.get(name), Tensor) or tensor.ndim != dimensions:
            raise ImporterError(f"{path} has no tensor {name!r} with {dimensions} dimensions")
    return value


def _json(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ImporterError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, Mapping):
        raise ImporterError(f"{path} is not a JSON object")
    return value
