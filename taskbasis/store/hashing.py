"""Content hashes of files and values; hashes of files are memoised."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from taskbasis.errors import StoreError
from taskbasis.store.atomic import write_json

_BLOCK = 1 << 20


def canonical_json(value: Any) -> str:
    """Serialise ``value`` so that equal values give equal text (sorted keys, no spaces, no NaN)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Hexadecimal sha256 of a JSON-serialisable value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_sha256(path: Path, memo: Path | None = None, *, fresh: bool = False) -> str:
    """Hexadecimal sha256 of a file's content.

    With ``memo`` (a folder) the hash is remembered by path, inode, size and modification time in
    nanoseconds, so that an unchanged file is read once per machine; ``fresh`` reads it all the same.

    Raises:
        StoreError: if the file cannot be read.
    """
    try:
        stat = path.stat()
        identity = [str(path.resolve()), stat.st_ino, stat.st_size, stat.st_mtime_ns]
        note = memo / f"{digest(identity[0])[:32]}.json" if memo else None
        if note is not None and not fresh and (known := _recall(note, identity)):
            return known
        value = _hash_file(path)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    if note is not None:
        write_json(note, {"identity": identity, "sha256": value})
    return value


def _hash_file(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state.hexdigest()


def _recall(note: Path, identity: list[Any]) -> str | None:
    try:
        known = json.loads(note.read_text())
        return str(known["sha256"]) if known["identity"] == identity else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
