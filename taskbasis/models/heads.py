"""Zero-shot classification heads from class names and prompt templates."""

from __future__ import annotations

import torch
from open_clip import build_zero_shot_classifier
from torch import Tensor, nn

from taskbasis.data.suite import TaskSpec
from taskbasis.models.clip import LoadedClip


@torch.no_grad()
def zero_shot_head(clip: LoadedClip, task: TaskSpec) -> Tensor:
    """Head weights of shape (C, d): logits are unit-norm image embeddings times its transpose.

    Each row is the normalised mean of the normalised embeddings of a class's prompts, times
    exp(logit_scale) (Radford et al. 2021, §3.1.4); the head is frozen in fine-tuning. The row of a class
    with synonyms is the normalised mean of their rows.
    """
    names = [(c,) if isinstance(c, str) else c for c in task.classes]
    flat = [name for synonyms in names for name in synonyms]
    columns: Tensor = build_zero_shot_classifier(clip.model, clip.tokenizer, flat, task.templates)
    rows: Tensor = columns.T.float()
    if len(flat) > len(names):
        groups = torch.split(rows, [len(synonyms) for synonyms in names])
        rows = torch.stack([nn.functional.normalize(group.mean(0), dim=0) for group in groups])
    scale: Tensor = clip.model.logit_scale.exp().float()
    return (rows * scale).contiguous()
