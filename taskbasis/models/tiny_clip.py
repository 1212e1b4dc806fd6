"""The tiny CLIP model that comes with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from taskbasis.data.preprocess import Preprocess
from taskbasis.models.clip import LoadedClip, check_activation
from taskbasis.models.tiny import IMAGE_SIZE, MEAN, STD, load_tiny
from taskbasis.models.tiny.weights import SHIPPED
from taskbasis.store.hashing import file_sha256


@dataclass(frozen=True)
class TinyClip:
    """open_clip's CLIP class in a size that trains on a laptop; see ``docs/mini-suite.md``."""

    weights: str | None = None
    """Another weights file of the same layout; the shipped one by default."""
    name: str = "tiny"
    quick_gelu: bool = False

    def identity(self) -> dict[str, Any]:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        return {"name": self.name, "weights": file_sha256(self._path)}

    def preprocess(self) -> Preprocess:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        return Preprocess(IMAGE_SIZE, MEAN, STD)

    def load(self) -> LoadedClip:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        model, tokenizer = load_tiny(self._path)
        check_activation(model, self.quick_gelu, self.name)
        return LoadedClip(model, tokenizer)

    def architecture(self) -> nn.Module:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        visual: nn.Module = self.load().model.visual
        return visual

    @property
    def _path(self) -> Path:
        return Path(self.weights) if self.weights else SHIPPED
