"""Classes that users add to the package: their code is part of what a result depends on."""

from __future__ import annotations

import inspect
from pathlib import Path

from taskbasis.store.hashing import file_sha256


def source_sha256(kind: type) -> str | None:
    """Hexadecimal sha256 of the source file of a class; None for taskbasis's own, whose stages have versions.

    None as well for a class without a source file, such as one that was typed in.
    """
    if kind.__module__.partition(".")[0] == "taskbasis":
        return None
    try:
        file = inspect.getsourcefile(kind)
    except TypeError:
        return None
    return file_sha256(Path(file)) if file and Path(file).is_file() else None
