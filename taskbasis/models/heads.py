"""Zero-shot classification heads from class names and prompt templates."""

from __future__ import annotations

import torch
from open_clip import build_zero_shot_classifier
from torch import Tensor

from taskbasis.data.suite import TaskSpec
from taskbasis.models.clip import LoadedClip


@torch.no_grad()
def zero_shot_head(clip: LoadedClip, task: TaskSpec) -> Tensor:
    """Head weights of shape (C, d): logits are unit-norm image embeddings times its transpose.

    Each row is the normalised mean of the normalised embeddings of a class's prompts, times
    exp(logit_scale) (Radford et al. 2021, §3.1.4); the head is frozen in fine-tuning.
    """
    columns: Tensor = build_zero_shot_classifier(clip.model, clip.tokenizer, task.classes, task.templates)
    weight: Tensor = columns.T * clip.model.logit_scale.exp()
    return weight.float().contiguous()
