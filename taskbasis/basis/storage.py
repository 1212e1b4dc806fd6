"""Bases on disk: a folder with a description, the matrices and, unless left out, the atoms.

Layout::

    basis.json            format version, method, names, diagnostics, files with sha256
    matrices.safetensors  encoder, decoder, offset (where there is one); float64
    atom-000.safetensors  … the basis vectors S = X·B, at the stored dtype
    offset.safetensors    the vector X·o, where there is one
    README.md             what it is, for people

A random basis has no atoms on disk: they are drawn again from the seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from taskbasis.basis.basis import Basis
from taskbasis.basis.card import basis_card
from taskbasis.errors import BasisError
from taskbasis.store.artifact import describe_files
from taskbasis.store.atomic import new_folder, write_json, write_text
from taskbasis.store.bundle import read_bundle
from taskbasis.vectors.passes import Progress
from taskbasis.vectors.vectorset import BASIS_DESCRIPTION as DESCRIPTION
from taskbasis.vectors.vectorset import BASIS_FORMAT as FORMAT
from taskbasis.vectors.vectorset import VectorSet

MATRICES, OFFSET = "matrices.safetensors", "offset"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def atom_names(M: int) -> tuple[str, ...]:
    """Names of the atoms' files, without their ending."""
    return tuple(f"atom-{m:03d}" for m in range(M))


def save_basis(
    basis: Basis,
    folder: Path | str,
    vectors: VectorSet | None = None,
    *,
    dtype: str = "float32",
    facts: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a basis as a folder, whole or not at all; an existing one is replaced.

    Args:
        basis: what to save.
        folder: where.
        vectors: the source columns of the basis (its task vectors), or the atoms of the same basis as
            they were read from another folder; None writes the matrices alone.
        dtype: how atoms are stored: ``float32``, ``bfloat16`` or ``float16``.
        facts: what else the description should say, such as where the checkpoints came from.
        progress: called with the elements of a vector that are written and that there are.

    Raises:
        BasisError: if the vectors are not the sources of this basis, or the dtype is none of these.
    """
    if dtype not in DTYPES:
        raise BasisError(f"dtype={dtype!r}: accepted are {', '.join(DTYPES)}")
    stored = None if vectors is None or basis.drawn_again else stored_vectors(basis, vectors)
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as temporary:
        save_file(_matrices(basis), temporary / MATRICES)
        if stored is not None:
            stored.save(temporary, DTYPES[dtype], progress=progress)
        files = describe_files(temporary)
        numel = None if vectors is None else vectors.numel
        description = {"format": FORMAT, "dtype": dtype, "numel": numel, "files": files, **basis.to_json()}
        description |= dict(facts or {})
        for name in ("encoder", "decoder", "offset"):
            del description[name]
        write_json(temporary / DESCRIPTION, description)
        write_text(temporary / "README.md", basis_card(basis, dtype=dtype, numel=numel))
    return folder


def load_basis(folder: Path | str) -> Basis:
    """Read a saved basis and check every file of it.

    Raises:
        StoreError: naming the file that is missing, altered or of another format version.
    """
    folder = Path(folder)
    description = read_bundle(folder, DESCRIPTION, FORMAT)
    matrices = load_file(folder / MATRICES)
    lists = {
        name: matrices[name].tolist() if name in matrices else None
        for name in ("encoder", "decoder", "offset")
    }
    return Basis.from_json(description | lists)


def stored_vectors(basis: Basis, vectors: VectorSet) -> VectorSet:
    """The atoms, and the offset's vector where there is one, from the sources or from atoms themselves.

    Raises:
        BasisError: if ``vectors`` are neither.
    """
    names = atom_names(basis.M) + ((OFFSET,) if basis.offset is not None else ())
    if vectors.names == names:
        return vectors
    if vectors.names != basis.sources:
        raise BasisError(
            f"these vectors are not the sources of the basis: {list(vectors.names)}, "
            f"the basis has {list(basis.sources)}"
        )
    columns = [basis.encoder] if basis.offset is None else [basis.encoder, basis.offset[:, None]]
    return vectors.combine(torch.cat(columns, dim=1), names)


def _matrices(basis: Basis) -> dict[str, Tensor]:
    named = {"encoder": basis.encoder, "decoder": basis.decoder, "offset": basis.offset}
    return {name: matrix.clone().contiguous() for name, matrix in named.items() if matrix is not None}
