"""What identifies a stage's result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from taskbasis.store.hashing import digest


@dataclass(frozen=True)
class StageKey:
    """Everything a stage's result depends on, as typed fields of a frozen dataclass.

    Subclasses name the stage, carry a version that is bumped whenever equal fields would give another
    result, and list semantic settings and the *content* hashes of upstream artifacts. Paths, worker
    counts, trackers and verbosity are never fields: two keys are equal iff the results are.
    """

    STAGE: ClassVar[str]
    VERSION: ClassVar[int]

    def fields(self) -> dict[str, Any]:
        """The key as plain values, in the form stored in manifests."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 over stage, version and fields."""
        return digest({"stage": self.STAGE, "version": self.VERSION, "fields": self.fields()})

    @property
    def short(self) -> str:
        """The folder name in the store: the first 20 hexadecimal digits."""
        return self.digest[:20]
