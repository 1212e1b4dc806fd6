"""The twenty real vision tasks of the paper (their images arrive in a later version)."""

from __future__ import annotations

from dataclasses import dataclass

from taskbasis.errors import DataError


@dataclass(frozen=True)
class VisionSuite:
    """Refuses, for now: this version holds no reader for the real datasets.

    Raises:
        DataError: always.
    """

    root: str
    name: str = "vision"

    def __post_init__(self) -> None:
        raise DataError("suite=vision is not available in this version; accepted: suite=mini")
