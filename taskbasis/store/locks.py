"""Locks between processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from taskbasis.errors import StoreError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock ``path`` for the block; other processes wait. It is free when its holder has died.

    Raises:
        StoreError: if the lock's folder cannot be written.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise StoreError(f"cannot write in {path.parent}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
