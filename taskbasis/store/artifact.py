"""A stored result: a folder of files with a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskbasis.errors import StoreError
from taskbasis.store.hashing import digest, file_sha256, hash_files

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1


@dataclass(frozen=True)
class Artifact:
    """One stored result, verified when it was opened."""

    path: Path
    """Its folder."""
    manifest: dict[str, Any] = field(repr=False)
    """Schema, stage, key fields, files with sha256 and size, metadata, versions."""
    reused: bool = False
    """Whether it was there already."""

    @property
    def content(self) -> str:
        """Hash of the files' content: what downstream keys refer to."""
        return str(self.manifest["content"])

    @property
    def meta(self) -> dict[str, Any]:
        """Facts the stage recorded about its result."""
        meta: dict[str, Any] = self.manifest["meta"]
        return meta

    def file(self, name: str) -> Path:
        """Path of one of the artifact's files.

        Raises:
            StoreError: if the manifest lists no such file.
        """
        if name not in self.manifest["files"]:
            raise StoreError(f"{self.path} holds no {name!r}; it holds {sorted(self.manifest['files'])}")
        return self.path / name

    def sha256(self, name: str) -> str:
        """Content hash of one of the artifact's files."""
        self.file(name)
        return str(self.manifest["files"][name]["sha256"])


def describe_files(folder: Path, known: Mapping[Path, str] | None = None) -> dict[str, dict[str, Any]]:
    """Name, sha256 and size in bytes of every file below ``folder`` but the manifest.

    Files whose hashes are ``known``, as from writing them, are not read.
    """
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
    hashes = dict(known or {})
    hashes |= hash_files([path for path in paths if path not in hashes])
    return {
        path.relative_to(folder).as_posix(): {"sha256": hashes[path], "size": path.stat().st_size}
        for path in paths
    }


def content_hash(files: dict[str, dict[str, Any]]) -> str:
    """One hash over the names and hashes of all files."""
    return digest({name: entry["sha256"] for name, entry in files.items()})


def read_artifact(folder: Path, memo: Path, *, fresh: bool = False) -> Artifact:
    """Open a stored artifact and check every file against its manifest.

    Hashes of files that look unchanged come from ``memo`` unless ``fresh`` asks to read them again.

    Raises:
        StoreError: naming the file that is missing, truncated or altered.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        files = manifest["files"]
        intact = manifest["schema"] == MANIFEST_SCHEMA and manifest["content"] == content_hash(files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} cannot be read as a manifest ({type(error).__name__}: {error})") from error
    if not intact:
        raise StoreError(f"{path} is not a schema {MANIFEST_SCHEMA} manifest of its own files")
    for name, entry in files.items():
        _check_file(folder / name, entry, memo, fresh)
    return Artifact(folder, manifest, reused=True)


def _check_file(path: Path, entry: dict[str, Any], memo: Path, fresh: bool) -> None:
    if not path.is_file():
        raise StoreError(f"{path} is missing")
    if (size := path.stat().st_size) != entry["size"]:
        raise StoreError(f"{path} holds {size} bytes where its manifest says {entry['size']}")
    if file_sha256(path, memo, fresh=fresh) != entry["sha256"]:
        raise StoreError(f"the content of {path} is not what its manifest says (sha256 differs)")
