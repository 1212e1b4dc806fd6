"""The embedded suite: twenty small tasks drawn on the spot, and a control set."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from taskbasis.data.mini.drawing import MINI_VERSION, draw_image, draw_split
from taskbasis.data.mini.fingerprints import drawing_changes
from taskbasis.data.mini.tasks import CONTROL, TASKS

SIZES: Mapping[str, int] = MappingProxyType({"train": 2000, "val": 200, "test": 400})
"""Images per split of every task."""
CONTROL_SIZES: Mapping[str, int] = MappingProxyType({"val": 600, "test": 1200})
"""Images per split of the control set."""

__all__ = [
    "CONTROL",
    "CONTROL_SIZES",
    "MINI_VERSION",
    "SIZES",
    "TASKS",
    "draw_image",
    "draw_split",
    "drawing_changes",
]
