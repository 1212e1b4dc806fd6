"""``python -m taskbasis.show PATH``: what a checkpoint, a basis or a Gram matrix holds."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from taskbasis.basis import Basis
from taskbasis.checkpoints import content_hashes
from taskbasis.command import run_plain
from taskbasis.importers import PICKLES, Checkpoint, import_checkpoint, import_run, is_run
from taskbasis.vectors import Gram
from taskbasis.vectors.files import TensorFile
from taskbasis.vectors.vectorset import BASIS_DESCRIPTION

EPILOG = """examples:
  python -m taskbasis.show theta0.safetensors     tensors, dtypes, shapes, sizes, metadata
  python -m taskbasis.show bases/ae-M4            a basis: losses, tasks with their errors, cosines
  python -m taskbasis.show finetuned.pt           a pickle of the lineage; nothing in it is run
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m taskbasis.show",
        description="Show what a checkpoint, a basis or a Gram matrix holds.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, help="a file or folder")
    parser.add_argument("--rows", type=int, default=20, help="tensors to list (default: %(default)s; 0: all)")
    options = parser.parse_args(arguments)
    console = Console()
    for part in describe(options.path, options.rows):
        console.print(part, markup=False, emoji=False)
    return 0


def describe(path: Path, rows: int = 20) -> Iterator[RenderableType]:
    """Tables about whatever lies at ``path``.

    Raises:
        TaskbasisError: if it is nothing that is understood, or damaged.
    """
    if (path / BASIS_DESCRIPTION).is_file():
        yield from _describe_basis(path)
    elif is_run(path):
        imported = import_run(path)
        yield basis_table(imported.basis)
        layout = imported.vectors.layout
        yield f"{len(imported.vectors)} vectors of {imported.vectors.numel:,} elements, {len(layout)} tensors"
    elif path.suffix in PICKLES:
        yield from _describe_checkpoint(import_checkpoint(path), rows)
    elif (file := TensorFile(path)).layout.keys() == {"gram"} and "names" in file.metadata:
        yield cosine_table(Gram.load(file.files[0]))
    else:
        tensors = {name: file.read(name) for name in file.shapes}
        yield from _describe_checkpoint(Checkpoint("safetensors", tensors, file.metadata), rows)


def basis_table(basis: Basis, facts: Mapping[str, Any] | None = None) -> Table:
    """What a basis is and how good it is."""
    d = basis.diagnostics
    title = Text(f"basis {basis.method}, M = {basis.M} of T = {len(basis.tasks)}", "table.title")
    table = Table(title=title, show_header=False)
    _add(table, "settings", ", ".join(f"{k}={v}" for k, v in basis.parameters.items()) or "none")
    for name, value in (facts or {}).items():
        _add(table, name, str(value))
    _add(table, "loss", _number(d.loss))
    _add(table, "spectral bound", _number(d.spectral_bound))
    _add(table, "relative error", _number(d.relative_error))
    _add(table, "condition number of the atoms", _number(d.condition))
    _add(table, "tasks", ", ".join(basis.tasks))
    return table


def task_table(basis: Basis, gram: Gram) -> Table:
    """Norm of each task vector and relative error of its reconstruction."""
    C = basis.reconstruction_coefficients()
    error = C - torch.eye(*C.shape, dtype=torch.float64)
    squared = torch.einsum("kt,kl,lt->t", error, gram.matrix, error).clamp_min(0.0)
    table = Table("task", "norm", "relative error", title="task vectors")
    for name, norm, value in zip(basis.tasks, gram.norms.tolist(), squared.sqrt().tolist(), strict=False):
        _add(table, name, f"{norm:.4g}", f"{value / norm:.4f}" if norm else "–")
    return table


def cosine_table(gram: Gram) -> Table:
    """Cosines between the columns, and their norms."""
    table = Table("", "norm", *(str(i) for i in range(len(gram.names))), title="cosines")
    for i, (name, norm, row) in enumerate(
        zip(gram.names, gram.norms.tolist(), gram.cosines.tolist(), strict=True)
    ):
        _add(table, f"{i} {name}", f"{norm:.3g}", *(f"{cosine:.2f}" for cosine in row))
    return table


def _describe_basis(folder: Path) -> Iterator[RenderableType]:
    basis = Basis.load(folder)
    description = json.loads((folder / BASIS_DESCRIPTION).read_text())
    numel, dtype = description["numel"], description["dtype"]
    content = "matrices alone" if numel is None else f"{basis.stored_vectors} × {numel:,} elements, {dtype}"
    yield basis_table(basis, {"content": content})
    if "gram" in description:
        gram = Gram(torch.tensor(description["gram"], dtype=torch.float64), basis.sources)
        yield task_table(basis, gram)
        yield cosine_table(gram)
    if "inputs" in description:
        yield _input_table(description["inputs"])


def _input_table(inputs: Mapping[str, Any]) -> Table:
    table = Table("checkpoint", "place", "MB", "content", title="made of")
    for name, entry in {"θ₀": inputs["base"], **inputs["finetuned"]}.items():
        hashes = content_hashes(entry)
        content = f"{hashes[0]} {hashes[1][0][:16]}…" if hashes else "–"
        _add(table, name, entry["path"] or "–", f"{entry['bytes'] / 1e6:.1f}", content)
    return table


def _describe_checkpoint(checkpoint: Checkpoint, rows: int) -> Iterator[RenderableType]:
    tensors = checkpoint.tensors
    table = Table("tensor", "dtype", "shape", "norm", title=checkpoint.kind)
    for name, tensor in list(tensors.items())[: rows or None]:
        _add(table, name, _dtype(tensor), "×".join(map(str, tensor.shape)) or "scalar", _norm(tensor))
    yield table
    if rows and len(tensors) > rows:
        yield f"… and {len(tensors) - rows} more (--rows 0 lists all)"
    kinds = Counter(_dtype(tensor) for tensor in tensors.values())
    total = sum(tensor.numel() for tensor in tensors.values())
    size = sum(tensor.nbytes for tensor in tensors.values())
    listed = ", ".join(f"{count} {dtype}" for dtype, count in kinds.items())
    yield f"{len(tensors)} tensors ({listed}), {total:,} elements, {size / 1e6:.1f} MB"
    for key, value in checkpoint.facts.items():
        yield f"{key}: {value}"


def _add(table: Table, *cells: str) -> None:
    """Add a row of text as it is: names from files may look like rich's markup."""
    table.add_row(*map(Text, cells))


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _norm(tensor: Tensor) -> str:
    if not tensor.is_floating_point():
        return "–"
    norm = float(tensor.double().norm()) if tensor.numel() < 1 << 20 else float(tensor.float().norm())
    return _number(norm)


def _number(value: float) -> str:
    return f"{value:.5g}" if abs(value) < float("inf") else "unknown" if value != value else "∞"


if __name__ == "__main__":
    run_plain(main)
