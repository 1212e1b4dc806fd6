"""Atomic, durable writes: a file or folder is either complete or absent."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from taskbasis.errors import StoreError


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` through a temporary file in the same folder.

    Raises:
        StoreError: if the folder cannot be written; ``path`` is then left as it was.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True) if path.parent.is_dir() else None
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 ``text`` to ``path``; see :func:`write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as strict, indented JSON (no NaN or infinity); see :func:`write_bytes`."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``final`` that takes its name when the block succeeds.

    On any exception the temporary folder is removed and ``final`` is left as it was.

    Raises:
        StoreError: if the folder or its parent cannot be written.
    """
    final = final.resolve()
    temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise StoreError(f"cannot write in {final.parent}: {error.strerror or error}") from error
    try:
        yield temporary
        readable = temporary.stat().st_mode & 0o666
        for path in temporary.rglob("*"):
            if path.is_file():
                # safetensors makes files for their owner alone; a store may be shared.
                path.chmod(readable)
            _sync(path)
        sync_folder(temporary)
        _swap(temporary, final)
        sync_folder(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, final: Path) -> None:
    """Let ``new`` take the name of ``final``, whose folder is removed only then."""
    old = new.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        if final.exists():
            os.rename(final, old)
        try:
            os.rename(new, final)
        except OSError:
            if old.exists():
                os.rename(old, final)
            raise
    except OSError as error:
        raise StoreError(f"cannot write {final}: {error.strerror or error}") from error
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(final: Path) -> None:
    """Remove what a killed process left of ``final``; call it with the lock of ``final`` held."""
    for temporary in final.parent.glob(f".{final.name}.*.tmp"):
        shutil.rmtree(temporary, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` durable (a no-op where folders cannot be opened)."""
    if os.name == "posix":
        _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
