"""Stored results of this room: the pretrained image encoder and the zero-shot heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import save_file

from taskbasis.data.suite import ClassName, TaskSpec
from taskbasis.models.clip import PREFIX, ClipModel
from taskbasis.models.heads import zero_shot_head
from taskbasis.store import Artifact, StageKey, Store

ENCODER = "encoder.safetensors"
HEAD = "head.safetensors"


@dataclass(frozen=True)
class PretrainedKey(StageKey):
    """Key of the pretrained image encoder θ₀."""

    STAGE: ClassVar[str] = "pretrained"
    VERSION: ClassVar[int] = 1
    model: dict[str, Any]


@dataclass(frozen=True)
class HeadKey(StageKey):
    """Key of a zero-shot head."""

    STAGE: ClassVar[str] = "head"
    VERSION: ClassVar[int] = 1
    model: dict[str, Any]
    classes: tuple[ClassName, ...]
    templates: tuple[str, ...]


def pretrained_and_heads(
    store: Store, clip: ClipModel, tasks: Sequence[TaskSpec]
) -> tuple[Artifact, dict[str, Artifact]]:
    """θ₀ (file ``encoder.safetensors``) and the head of each task (``head.safetensors``) by name.

    The model is loaded at most once, and not at all if everything is stored.
    """
    load = cache(clip.load)
    identity = clip.identity()

    def build_encoder(folder: Path) -> dict[str, Any]:
        visual = load().model.visual.state_dict()
        save_file({PREFIX + k: v.float().contiguous() for k, v in visual.items()}, folder / ENCODER)
        return {"model": clip.name, "quick_gelu": clip.quick_gelu, "preprocess": asdict(clip.preprocess())}

    def build_head(task: TaskSpec, folder: Path) -> None:
        save_file({"weight": zero_shot_head(load(), task)}, folder / HEAD)

    theta0 = store.make(PretrainedKey(identity), build_encoder)
    heads = {
        task.name: store.make(HeadKey(identity, task.classes, task.templates), partial(build_head, task))
        for task in tasks
    }
    return theta0, heads
