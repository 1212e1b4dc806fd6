"""Any model of open_clip, by name and pretrained tag or weights file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from torch import nn

from taskbasis.errors import ModelError
from taskbasis.models.clip import LoadedClip, Preprocess, check_activation
from taskbasis.store.hashing import file_sha256


@dataclass(frozen=True)
class OpenClipModel:
    """A model of open_clip with its published weights or weights from a file."""

    name: str
    """Architecture, such as ``ViT-B-32``."""
    pretrained: str | None = "openai"
    """Tag of published weights; ignored if ``weights`` is given."""
    weights: str | None = None
    """A local file of weights, for machines without a connection."""
    quick_gelu: bool = True
    """QuickGELU, which the weights of OpenAI and all checkpoints fine-tuned from them need."""

    def identity(self) -> dict[str, Any]:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        source = file_sha256(Path(self.weights)) if self.weights else self.pretrained
        return {"name": self.name, "weights": source, "quick_gelu": self.quick_gelu}

    def preprocess(self) -> Preprocess:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        config = open_clip.get_model_config(self.name)
        if config is None:
            raise ModelError(f"open_clip has no model {self.name!r}; see open_clip.list_models()")
        published = open_clip.get_pretrained_cfg(self.name, self.pretrained) if self.pretrained else {}
        return Preprocess(
            image_size=config["vision_cfg"]["image_size"],
            mean=tuple(published.get("mean", open_clip.OPENAI_DATASET_MEAN)),
            std=tuple(published.get("std", open_clip.OPENAI_DATASET_STD)),
        )

    def load(self) -> LoadedClip:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        model = self._create(self.weights or self.pretrained)
        return LoadedClip(model.eval(), open_clip.get_tokenizer(self.name))

    def architecture(self) -> nn.Module:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        visual: nn.Module = self._create(None).visual
        return visual

    def _create(self, pretrained: str | None) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*QuickGELU mismatch.*")
            try:
                model = open_clip.create_model(
                    self.name, pretrained=pretrained, force_quick_gelu=self.quick_gelu
                )
            except (RuntimeError, OSError, UserWarning, ValueError) as error:
                raise ModelError(f"cannot load {self.name} with weights {pretrained!r}: {error}") from error
        check_activation(model.visual, self.quick_gelu, self.name)
        return model
