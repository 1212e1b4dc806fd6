"""Content hashes of files and values; hashes of files are memoised."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

from xxhash import xxh3_128

from taskbasis.errors import StoreError
from taskbasis.parallel import default_workers
from taskbasis.store.atomic import write_json

Algorithm = Literal["sha256", "xxh3_128"]


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> object: ...

    def hexdigest(self) -> str: ...


ALGORITHMS: dict[Algorithm, Callable[[], _Hash]] = {"sha256": hashlib.sha256, "xxh3_128": xxh3_128}
"""SHA-256, which nobody can forge and hubs list; XXH3, a tenth of its cost, to find what is mixed up."""

_BLOCK = 1 << 20
_TICK = 20_000_000
"""Nanoseconds; file systems stamp times more coarsely than they store them."""


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
    with _readable(path):
        identity = _identity(path)
        if memo is not None and not fresh and (known := _recall(_note(memo, identity), identity)):
            return known
        value = _hash_file(path, hashlib.sha256())
    if memo is not None:
        _remember(memo, identity, value)
    return value


def hash_files(
    paths: Sequence[Path], algorithm: Algorithm = "sha256", *, threads: int | None = None
) -> dict[Path, str]:
    """Hexadecimal hashes of several files, read by ``threads`` threads at once (all processors).

    Raises:
        StoreError: naming the first file that cannot be read.
    """

    def one(path: Path) -> str:
        with _readable(path):
            return _hash_file(path, ALGORITHMS[algorithm]())

    # The largest first: what begins last should end soon.
    ordered = sorted(paths, key=lambda path: -path.stat().st_size if path.is_file() else 0)
    with ThreadPoolExecutor(threads or default_workers()) as pool:
        found = dict(zip(ordered, pool.map(one, ordered), strict=True))
    return {path: found[path] for path in paths}


def files_state(folder: Path) -> str:
    """Hash of the names, sizes and times of all files below a folder: equal while nothing changes.

    Files and folders whose names begin with a dot do not count.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in place.parts):
            stat = path.stat()
            found.append((place.as_posix(), stat.st_size, stat.st_mtime_ns))
    return digest(found)


def remember_sha256(hashes: Mapping[Path, str], memo: Path) -> None:
    """Note the known hashes of files, as :func:`file_sha256` does after reading them."""
    for path, value in hashes.items():
        _remember(memo, _identity(path), value)


def _identity(path: Path) -> list[Any]:
    stat = path.stat()
    return [str(path.resolve()), stat.st_ino, stat.st_size, stat.st_mtime_ns]


def _note(memo: Path, identity: list[Any]) -> Path:
    return memo / f"{digest(identity[0])[:32]}.json"


def _remember(memo: Path, identity: list[Any], value: str) -> None:
    # A file that changes twice within a tick of the file system's clock looks unchanged the second time.
    if time.time_ns() - identity[-1] > _TICK:
        # A store that can only be read is one all the same.
        with suppress(StoreError):
            write_json(_note(memo, identity), {"identity": identity, "sha256": value})


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error


def _hash_file(path: Path, state: _Hash) -> str:
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            state.update(view[:count])
    return state.hexdigest()


def _recall(note: Path, identity: list[Any]) -> str | None:
    try:
        known = json.loads(note.read_text())
        return str(known["sha256"]) if known["identity"] == identity else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
