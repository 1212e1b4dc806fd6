"""Image encoders of CLIP in the naming of Hugging Face transformers, from there and back.

Source of the names: ``transformers.CLIPVisionModel`` (``vision_model.*``) and ``CLIPModel``, which adds
``visual_projection.weight``; on this side ``open_clip.CLIP.visual``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from taskbasis.errors import ImporterError
from taskbasis.importers.checkpoint import Checkpoint

OURS, THEIRS = "visual.", "vision_model."
PROJECTION = "visual_projection.weight"
"""The transpose of ``visual.proj``; fine-tuned vision towers without it keep that of the pretrained model."""

_TOP = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_PARTS = ("weight", "bias")


def is_hf_clip(names: Mapping[str, object]) -> bool:
    """Whether these are the tensors of a CLIP vision tower of transformers."""
    return f"{THEIRS}{_TOP['class_embedding']}" in names


def from_hf(tensors: Mapping[str, Tensor]) -> Checkpoint:
    """The visual tower under open_clip's names; tensors of the text side are left out.

    Raises:
        ImporterError: naming a tensor that is missing.
    """
    blocks = _count(tensors, rf"{THEIRS}encoder\.layers\.(\d+)\.layer_norm1\.weight")
    found = {ours: _get(tensors, theirs) for ours, theirs in _same(blocks)}
    for ours, thirds in _attention(blocks):
        found[ours] = torch.cat([_get(tensors, theirs) for theirs in thirds])
    if PROJECTION in tensors:
        found[f"{OURS}proj"] = tensors[PROJECTION].T.contiguous()
    return Checkpoint("encoder", found, {"class": "transformers.CLIPVisionModel"})


def to_hf(tensors: Mapping[str, Tensor]) -> Checkpoint:
    """The visual tower under the names of transformers; tensors that are not of it are left out.

    Raises:
        ImporterError: naming a tensor that is missing.
    """
    blocks = _count(tensors, rf"{OURS}transformer\.resblocks\.(\d+)\.ln_1\.weight")
    found = {theirs: _get(tensors, ours) for ours, theirs in _same(blocks)}
    for ours, thirds in _attention(blocks):
        found |= zip(thirds, _get(tensors, ours).chunk(3), strict=True)
    if f"{OURS}proj" in tensors:
        found[PROJECTION] = tensors[f"{OURS}proj"].T.contiguous()
    return Checkpoint("encoder", found, {"class": "open_clip.VisionTransformer"})


def _same(blocks: int) -> Iterator[tuple[str, str]]:
    """Our name and theirs of every tensor that is equal on both sides."""
    for ours, theirs in _TOP.items():
        yield f"{OURS}{ours}", f"{THEIRS}{theirs}"
    for i in range(blocks):
        for ours, theirs in _BLOCK.items():
            for part in _PARTS:
                yield (
                    f"{OURS}transformer.resblocks.{i}.{ours}.{part}",
                    f"{THEIRS}encoder.layers.{i}.{theirs}.{part}",
                )


def _attention(blocks: int) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Our name of every joint projection to query, key and value, and their names of its thirds."""
    for i in range(blocks):
        for part in _PARTS:
            q, k, v = (f"{THEIRS}encoder.layers.{i}.self_attn.{x}_proj.{part}" for x in "qkv")
            yield f"{OURS}transformer.resblocks.{i}.attn.in_proj_{part}", (q, k, v)


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    numbers = {int(match[1]) for name in tensors if (match := re.fullmatch(pattern, name))}
    if numbers != set(range(len(numbers))) or not numbers:
        raise ImporterError(f"the tensors have the transformer blocks {sorted(numbers)}, not 0, 1, …")
    return len(numbers)


def _get(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ImporterError(f"the tensors lack {name!r}; this is no CLIP vision tower")
    return tensors[name]
