"""Stored result of this room: the fitted basis."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

from taskbasis.basis.basis import Basis, BasisMethod, Trained
from taskbasis.extensions import source_sha256
from taskbasis.store import Artifact, StageKey, Store, write_json
from taskbasis.trainer import quiet_trainer
from taskbasis.vectors.gram import Gram

BASIS = "basis.json"


@dataclass(frozen=True)
class BasisKey(StageKey):
    """Key of a fitted basis."""

    STAGE: ClassVar[str] = "basis"
    VERSION: ClassVar[int] = 1
    gram: str
    """Content of the Gram matrix and its names."""
    method: str
    settings: dict[str, Any]
    threads: int
    source: str | None = None
    """Content of the file of a method that does not come with the package; no part of the key without."""

    def fields(self) -> dict[str, Any]:
        """See :class:`~taskbasis.store.StageKey`."""
        known = super().fields()
        return known if self.source is not None else {k: v for k, v in known.items() if k != "source"}


def fit(store: Store, method: BasisMethod, gram: Gram, threads: int) -> tuple[Basis, Artifact]:
    """The basis that ``method`` makes of ``gram``, fitted unless it is stored."""
    assert is_dataclass(method)
    kind = type(method)
    key = BasisKey(
        gram=gram.key,
        method=f"{kind.__module__}.{kind.__qualname__}",
        settings={f.name: getattr(method, f.name) for f in fields(method)},
        threads=threads,
        source=source_sha256(kind),
    )

    def build(folder: Path) -> None:
        trained = isinstance(method, Trained)
        basis = method.fit_with(gram, quiet_trainer(max_epochs=1)) if trained else method.fit(gram)
        write_json(folder / BASIS, basis.to_json())

    artifact = store.make(key, build)
    return Basis.from_json(json.loads(artifact.file(BASIS).read_text())), artifact
