"""Folders that users keep: a JSON description that lists every file with its hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskbasis.errors import StoreError
from taskbasis.store.hashing import hash_files


def read_bundle(folder: Path, name: str, version: int) -> dict[str, Any]:
    """The description ``name`` of a folder, with every file that it lists checked against its hash.

    Raises:
        StoreError: naming the file that is missing, unreadable, altered or of another format version.
    """
    path = folder / name
    try:
        description = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    if not isinstance(description, Mapping) or description.get("format") != version:
        raise StoreError(f"{path} is not a description of format {version}")
    files = {folder / file: entry["sha256"] for file, entry in description["files"].items()}
    for file in files:
        if not file.is_file():
            raise StoreError(f"{file} is missing")
    for file, found in hash_files(list(files)).items():
        if found != files[file]:
            raise StoreError(f"the content of {file} is not what {path} says (sha256 differs)")
    return dict(description)
