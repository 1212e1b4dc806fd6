"""Checkpoints of a named size for measurements: the visual towers of CLIP, with drawn weights.

A task vector is a shared part and a part of its own (cosines about 0.3, norms about 1), which is how
fine-tuned models look; only sizes and layouts matter for the engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True)
class Size:
    """A vision transformer."""

    width: int
    layers: int
    patch: int
    tokens: int
    embedding: int

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes as in open_clip."""
        w = self.width
        yield "visual.class_embedding", (w,)
        yield "visual.positional_embedding", (self.tokens, w)
        yield "visual.proj", (w, self.embedding)
        yield "visual.conv1.weight", (w, 3, self.patch, self.patch)
        for norm in ("ln_pre", "ln_post"):
            yield f"visual.{norm}.weight", (w,)
            yield f"visual.{norm}.bias", (w,)
        for i in range(self.layers):
            block = f"visual.transformer.resblocks.{i}."
            for norm in ("ln_1", "ln_2"):
                yield f"{block}{norm}.weight", (w,)
                yield f"{block}{norm}.bias", (w,)
            linear = {"attn.in_proj_": (3 * w, w), "attn.out_proj.": (w, w)}
            linear |= {"mlp.c_fc.": (4 * w, w), "mlp.c_proj.": (w, 4 * w)}
            for name, shape in linear.items():
                yield f"{block}{name}weight", shape
                yield f"{block}{name}bias", shape[:1]


SIZES = {
    "tiny": Size(64, 2, 8, 17, 32),
    "vit-b-32": Size(768, 12, 32, 50, 512),
    "vit-l-14": Size(1024, 24, 14, 257, 768),
}


def numel(size: str) -> int:
    """D: 87,849,216 for ViT-B/32."""
    return sum(math.prod(shape) for _, shape in SIZES[size].shapes())


def make_checkpoints(folder: Path, size: str, tasks: int) -> tuple[Path, dict[str, Path]]:
    """Paths of θ₀ and of each θ_t, written unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / "theta0.safetensors"
    finetuned = {f"task{t:02d}": folder / f"task{t:02d}.safetensors" for t in range(tasks)}
    if all(path.is_file() for path in (base, *finetuned.values())):
        return base, finetuned
    shapes = dict(SIZES[size].shapes())
    generator = torch.Generator().manual_seed(0)
    theta0 = {name: 0.02 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(theta0, base)
    scale = 1 / math.sqrt(numel(size))
    shared = {name: 0.55 * scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    noise = torch.randn(max(map(math.prod, shapes.values())) * 4, generator=generator)
    for path in finetuned.values():
        tuned = {k: v + shared[k] + 0.83 * scale * _cut(noise, v, generator) for k, v in theta0.items()}
        save_file(tuned, path)
    return base, finetuned


def _cut(noise: Tensor, like: Tensor, generator: torch.Generator) -> Tensor:
    """A random stretch of ``noise``: drawing 20 models anew would take longer than measuring them."""
    start = int(torch.randint(noise.numel() - like.numel(), (1,), generator=generator))
    return noise[start : start + like.numel()].view_as(like)
