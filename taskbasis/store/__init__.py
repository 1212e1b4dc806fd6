"""Content-addressed storage: keys, atomic writes, locks, manifests and verification."""

from taskbasis.store.artifact import Artifact
from taskbasis.store.atomic import write_bytes, write_json, write_text
from taskbasis.store.hashing import digest, file_sha256, hash_files
from taskbasis.store.keys import StageKey
from taskbasis.store.store import Store

__all__ = [
    "Artifact",
    "StageKey",
    "Store",
    "digest",
    "file_sha256",
    "hash_files",
    "write_bytes",
    "write_json",
    "write_text",
]
