"""What a CLIP model is to the framework: an image encoder to fine-tune and a text side for heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from taskbasis.data.preprocess import Preprocess
from taskbasis.errors import ModelError

PREFIX = "visual."
"""Prefix of all image-encoder parameters in checkpoints, as in open_clip's state dicts."""


@dataclass(frozen=True)
class LoadedClip:
    """A CLIP model in memory, text side included."""

    model: Any
    """An ``open_clip.CLIP`` in float32 and eval mode."""
    tokenizer: Callable[[list[str]], Tensor]
    """Texts to token ids of shape (N, context_length)."""


class ClipModel(Protocol):
    """A pretrained CLIP model, described but not loaded; picklable and cheap to make."""

    @property
    def name(self) -> str:
        """Short name, recorded in results."""

    @property
    def quick_gelu(self) -> bool:
        """Whether the activation is QuickGELU, which weights of OpenAI need."""

    def identity(self) -> dict[str, Any]:
        """What determines the pretrained weights: part of every key that depends on them."""

    def preprocess(self) -> Preprocess:
        """The pixel statistics and size of the image encoder."""

    def load(self) -> LoadedClip:
        """The pretrained model; raises :class:`ModelError` if its weights are absent or do not fit."""

    def architecture(self) -> nn.Module:
        """The visual tower with arbitrary weights."""


class ImageEncoder(nn.Module):
    """The visual tower of a CLIP model on raw pixels.

    Its state dict has the keys ``visual.*`` and nothing else.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, visual: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.visual = visual
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Unit-norm embeddings of shape (N, d).

        Args:
            images: shape (N, 3, H, W), either uint8 pixels or float inputs that are already normalised.
        """
        if images.dtype == torch.uint8:
            images = (images.float().div(255) - self.mean) / self.std
        return nn.functional.normalize(self.visual(images), dim=-1)


def image_encoder(clip: ClipModel) -> ImageEncoder:
    """An image encoder of the right architecture, with arbitrary weights."""
    return ImageEncoder(clip.architecture(), clip.preprocess())


def check_activation(model: nn.Module, quick_gelu: bool, name: str) -> None:
    """Verify that every activation of a model, text side included, is the one it should be.

    open_clip ≥ 3 only warns when weights trained with QuickGELU meet a GELU model, which then is
    silently wrong.

    Raises:
        ModelError: naming what was found and what was expected.
    """
    kinds = {type(m).__name__ for m in model.modules() if type(m).__name__ in ("GELU", "QuickGELU")}
    expected = "QuickGELU" if quick_gelu else "GELU"
    if kinds != {expected}:
        raise ModelError(f"{name}: the activation is {sorted(kinds) or 'unknown'}, expected {expected}")
