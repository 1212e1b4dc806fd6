"""The store: one folder per stage, one folder per key in it."""

from __future__ import annotations

import logging
import platform
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from taskbasis.errors import StoreError
from taskbasis.store.artifact import (
    MANIFEST,
    MANIFEST_SCHEMA,
    Artifact,
    content_hash,
    describe_files,
    read_artifact,
)
from taskbasis.store.atomic import new_folder, remove_leftovers, write_json
from taskbasis.store.hashing import remember_sha256
from taskbasis.store.keys import StageKey
from taskbasis.store.locks import locked

_log = logging.getLogger(__name__)
_VERSIONED = ("taskbasis", "torch", "open_clip_torch", "lightning", "safetensors", "numpy", "pillow")

Build = Callable[[Path], dict[str, Any] | None]
"""Writes a result's files into the given empty folder and returns facts worth recording, if any."""


class Store:
    """Keeps the results of stages, addressed by what they depend on.

    A result is built once, under a lock, in a temporary folder that is renamed when it is complete, so
    that parallel jobs share work and an interrupted one leaves nothing behind.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    @property
    def memo(self) -> Path:
        """Folder of memoised file hashes."""
        return self.root / ".hashes"

    def folder(self, key: StageKey) -> Path:
        """Where the result of ``key`` lies or would lie."""
        return self.root / key.STAGE / key.short

    def find(self, key: StageKey) -> Artifact | None:
        """The stored result, or None if there is none or it is damaged (which is logged, by name)."""
        folder = self.folder(key)
        if not (folder / MANIFEST).exists():
            return None
        try:
            return read_artifact(folder, self.memo)
        except StoreError as error:
            _log.warning("damaged artifact: %s; it will be made again", error)
            return None

    def make(self, key: StageKey, build: Build) -> Artifact:
        """The result of ``key``: the stored one, or what ``build`` writes.

        Raises:
            StoreError: if the store cannot be written.
            TaskbasisError: whatever ``build`` raises; nothing is then stored.
        """
        if (found := self.find(key)) is not None:
            return found
        with locked(self.root / key.STAGE / f".{key.short}.lock"):
            if (found := self.find(key)) is not None:
                return found
            return self._build(key, build)

    def unfinished(self, key: StageKey) -> Path:
        """A folder for what a long stage keeps of an unfinished result; the stage makes and fills it."""
        return self.root / key.STAGE / f".{key.short}.unfinished"

    def forget_unfinished(self, key: StageKey) -> None:
        """Remove what was kept of an unfinished result."""
        shutil.rmtree(self.unfinished(key), ignore_errors=True)

    def verify(self) -> tuple[int, list[str]]:
        """Read every stored file anew: the number of artifacts and a message for each damaged one."""
        problems, count = [], 0
        for folder in self.artifacts():
            count += 1
            try:
                read_artifact(folder, self.memo, fresh=True)
            except StoreError as error:
                problems.append(str(error))
        return count, problems

    def artifacts(self) -> Iterator[Path]:
        """Folders of all stored results, sorted."""
        for path in sorted(self.root.glob(f"*/*/{MANIFEST}")):
            if not path.parent.name.startswith("."):
                yield path.parent

    def _build(self, key: StageKey, build: Build) -> Artifact:
        folder = self.folder(key)
        remove_leftovers(folder)
        with new_folder(folder) as temporary:
            meta = build(temporary) or {}
            files = describe_files(temporary)
            manifest = {
                "schema": MANIFEST_SCHEMA,
                "stage": key.STAGE,
                "version": key.VERSION,
                "key": key.fields(),
                "content": content_hash(files),
                "files": files,
                "meta": meta,
                "made_with": versions(),
            }
            write_json(temporary / MANIFEST, manifest)
        # A rename keeps inode, size and time of a file: what was just hashed need not be read again.
        remember_sha256({folder / name: entry["sha256"] for name, entry in files.items()}, self.memo)
        _log.debug("stored %s", folder)
        return Artifact(folder, manifest)


@cache
def versions() -> dict[str, str]:
    """Versions of Python, of the packages that results depend on, and the platform."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found
