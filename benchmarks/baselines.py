"""The straightforward ways to a basis of T checkpoints: everything in memory.

``loops`` follows the published code step by step (written anew): θ₀ and θ_t unpickled for every task,
differences as dicts, the Gram matrix over pieces of two million rows, 6000 Adam steps, every atom as a
loop over tasks and tensors, one pickle. ``dense`` is what a careful user would write: every file read
once into one matrix, two matrix products.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from taskbasis.basis import Autoencoder
from taskbasis.vectors import Gram
from taskbasis.vectors.passes import single_threaded

ROWS = 2_000_000


def loops(base: Path, finetuned: Mapping[str, Path], M: int, out: Path) -> None:
    """The published code's way; the inputs are pickles of state dicts beside the safetensors."""
    vectors = []
    for path in finetuned.values():
        theta0 = torch.load(base.with_suffix(".pt"), weights_only=True)
        theta = torch.load(path.with_suffix(".pt"), weights_only=True)
        vectors.append({name: theta[name] - theta0[name] for name in theta})
    G = torch.zeros(len(vectors), len(vectors))
    for name in vectors[0]:
        columns = [vector[name].reshape(-1) for vector in vectors]
        for start in range(0, len(columns[0]), ROWS):
            rows = torch.stack([column[start : start + ROWS] for column in columns])
            G += rows @ rows.T
    B = _encoder(G, finetuned, M)
    atoms = []
    for m in range(M):
        atom = {name: torch.zeros_like(tensor) for name, tensor in vectors[0].items()}
        for weight, vector in zip(B[:, m].tolist(), vectors, strict=True):
            for name, tensor in atom.items():
                tensor.add_(vector[name], alpha=weight)
        atoms.append(atom)
    torch.save({"basis_vectors": atoms}, out / "basis_vectors.pt")


def dense(base: Path, finetuned: Mapping[str, Path], M: int, out: Path) -> None:
    """Every file read once into one matrix, two products."""
    theta0 = load_file(base)
    names = sorted(theta0)
    V = torch.empty(len(finetuned), sum(tensor.numel() for tensor in theta0.values()))
    for row, path in zip(V, finetuned.values(), strict=True):
        theta = load_file(path)
        torch.cat([(theta[name] - theta0[name]).reshape(-1) for name in names], out=row)
    S = _encoder(V @ V.T, finetuned, M).T.float() @ V
    sizes = [theta0[name].numel() for name in names]
    for m, atom in enumerate(S):
        parts = zip(names, atom.split(sizes), strict=True)
        save_file({name: part.view_as(theta0[name]) for name, part in parts}, out / f"{m:03d}.safetensors")


def import_optimiser() -> None:
    """Import what the Adam steps need, which the published code's own loop would not."""
    import taskbasis.basis.autoencoder.adam
    import taskbasis.trainer  # noqa: F401


def _encoder(G: Tensor, names: Mapping[str, Path], M: int) -> Tensor:
    gram = Gram((G + G.T).double() / 2, tuple(names))
    with single_threaded():
        return Autoencoder(M=M, solver="adam").fit(gram).encoder
