"""Bases on disk: a folder with a description, the matrices and, unless left out, the atoms.

Layout::

    basis.json            format version, method, names, diagnostics, files with sha256
    matrices.safetensors  encoder, decoder, offset (where there is one); float64
    atom-000.safetensors  … the basis vectors S = X·B, at the stored dtype
    offset.safetensors    the vector X·o, where there is one
    README.md             what it is, for people
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from taskbasis.basis.card import basis_card
from taskbasis.errors import BasisError
from taskbasis.store.artifact import describe_files
from taskbasis.store.atomic import new_folder, write_json, write_text
from taskbasis.store.bundle import read_bundle
from taskbasis.vectors.passes import Progress
from taskbasis.vectors.vectorset import BASIS_DESCRIPTION, BASIS_FORMAT, VectorSet

MATRICES, OFFSET, CARD = "matrices.safetensors", "offset", "README.md"
Facts = Callable[[], Mapping[str, Any]]
"""Asked for when the vectors are written, so that what takes long can be found out meanwhile."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def atom_names(M: int) -> tuple[str, ...]:
    """Names of the atoms' files, without their ending."""
    return tuple(f"atom-{m:03d}" for m in range(M))


def write_folder(
    folder: Path,
    *,
    description: Mapping[str, Any],
    matrices: Mapping[str, Tensor],
    vectors: VectorSet | None,
    numel: int | None,
    dtype: str,
    threads: int | None = None,
    facts: Facts | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the folder of a basis, whole or not at all; an existing one is replaced.

    Args:
        folder: where.
        description: what the basis is, as JSON values.
        matrices: encoder, decoder and offset where there is one.
        vectors: the columns to store, named as their files will be; None stores none.
        numel: elements of a vector, if known.
        dtype: how vectors are stored, one of :data:`DTYPES`.
        threads: how many write the vectors; all processors by default.
        facts: what else the description should say.
        progress: called with the elements of a vector that are written and that there are.

    Raises:
        BasisError: if the dtype is none of these, or files in the folder would be lost.
        StoreError: if the folder cannot be written.
    """
    check_dtype(dtype)
    if strange := strangers(folder):
        raise BasisError(f"{folder} holds {strange[0]}, which is no part of a basis and would be lost")
    with new_folder(folder) as temporary:
        save_file(
            {name: matrix.clone().contiguous() for name, matrix in matrices.items()}, temporary / MATRICES
        )
        hashes: dict[Path, str] = {}
        if vectors is not None:
            vectors.save(temporary, DTYPES[dtype], threads=threads, progress=progress, sha256=hashes)
        files = describe_files(temporary, hashes)
        head = {"format": BASIS_FORMAT, "dtype": dtype, "numel": numel, "files": files}
        whole = head | dict(description) | dict(facts() if facts else {})
        write_json(temporary / BASIS_DESCRIPTION, whole)
        write_text(temporary / CARD, basis_card(whole))


def check_dtype(dtype: str) -> None:
    """Refuse a dtype that atoms are not stored at.

    Raises:
        BasisError: naming those that are accepted.
    """
    if dtype not in DTYPES:
        raise BasisError(f"dtype={dtype!r}: accepted are {', '.join(DTYPES)}")


def strangers(folder: Path) -> list[str]:
    """Names in an existing folder that are no part of a saved basis: everything, where none is saved."""
    if not folder.is_dir():
        return [folder.name] if folder.exists() else []
    try:
        known = {BASIS_DESCRIPTION, CARD, *json.loads((folder / BASIS_DESCRIPTION).read_text())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    return sorted({path.name for path in folder.iterdir()} - known)


def read_folder(folder: Path) -> dict[str, Any]:
    """The description of a saved basis with its matrices as nested lists, every file checked.

    Raises:
        StoreError: naming the file that is missing, altered or of another format version.
    """
    description = read_bundle(folder, BASIS_DESCRIPTION, BASIS_FORMAT)
    matrices = load_file(folder / MATRICES)
    names = ("encoder", "decoder", "offset")
    return description | {n: matrices[n].tolist() if n in matrices else None for n in names}
