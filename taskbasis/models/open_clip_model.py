"""Any model of open_clip, by name and pretrained tag or weights file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import SafetensorError
from torch import nn

from taskbasis.data.preprocess import Preprocess
from taskbasis.errors import ModelError
from taskbasis.models.clip import LoadedClip, check_activation
from taskbasis.store.hashing import file_sha256, files_state
from taskbasis.vectors.files import TensorFile

_REFUSALS = (RuntimeError, OSError, ValueError, SafetensorError, AttributeError, KeyError, AssertionError)
"""What open_clip raises for weights and names that it cannot use."""
_LOCAL = "local-dir:"
_SCHEMAS = (_LOCAL, "hf-hub:")


@dataclass(frozen=True)
class OpenClipModel:
    """A model of open_clip with its published weights or weights from a file.

    Raises:
        ModelError: if the weights were trained with another activation than ``quick_gelu`` says.
    """

    name: str
    """Architecture, such as ``ViT-B-32``, or ``local-dir:<folder>`` with an ``open_clip_config.json``."""
    pretrained: str | None = "openai"
    """Tag of published weights; ignored if ``weights`` is given."""
    weights: str | None = None
    """A local file of weights (safetensors or a state dict), for machines without a connection."""
    quick_gelu: bool = True
    """QuickGELU, which the weights of OpenAI and all checkpoints fine-tuned from them need."""

    def __post_init__(self) -> None:
        if self._tagged and not self._published and self.name in open_clip.list_models():
            tags = ", ".join(open_clip.list_pretrained_tags_by_model(self.name))
            raise ModelError(f"model.pretrained={self.pretrained!r}: {self.name} has the tags {tags}")
        trained = self._published.get("quick_gelu", self.quick_gelu)
        if self.weights and self.weights.endswith(".safetensors"):
            said = TensorFile(self.weights).metadata.get("quick_gelu")
            trained = trained if said is None else said == "true"
        if trained != self.quick_gelu:
            raise ModelError(
                f"model.quick_gelu={self.quick_gelu}: the weights {self._source!r} of {self.name} were "
                f"trained with {'QuickGELU' if trained else 'GELU'}; set model.quick_gelu={trained}"
            )

    def identity(self) -> dict[str, Any]:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        source = file_sha256(Path(self.weights)) if self.weights else self.pretrained
        name: Any = self.name
        if (folder := self.folder) is not None:
            name = _content(folder, files_state(folder))
        return {"name": name, "weights": source, "quick_gelu": self.quick_gelu}

    @property
    def folder(self) -> Path | None:
        """The folder that the model is read from, if it is one."""
        local = self.name.startswith(_LOCAL)
        return Path(self.name.removeprefix(_LOCAL)) if local else None

    def preprocess(self) -> Preprocess:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        return self._preprocess

    def load(self) -> LoadedClip:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        if self._source is None and not self.name.startswith(_SCHEMAS):
            raise ModelError(f"{self.name}: model.pretrained and model.weights are both null; give one")
        model = self._create(self._source)
        return LoadedClip(model.eval(), open_clip.get_tokenizer(self.name))

    def architecture(self) -> nn.Module:
        """See :class:`~taskbasis.models.clip.ClipModel`."""
        visual: nn.Module = self._create(None, load_weights=False).visual
        return visual

    @property
    def _source(self) -> str | None:
        return self.weights or self.pretrained

    @property
    def _tagged(self) -> bool:
        return bool(self.pretrained) and not self.weights and not self.name.startswith(_SCHEMAS)

    @property
    def _published(self) -> dict[str, Any]:
        """What open_clip knows of the weights' tag."""
        if not self._tagged:
            return {}
        known: dict[str, Any] = open_clip.get_pretrained_cfg(self.name, self.pretrained)
        return {"quick_gelu": False, **known} if known else {}

    @cached_property
    def _preprocess(self) -> Preprocess:
        with torch.device("meta"):
            visual = self._create(None, load_weights=False, device="meta").visual
        said = visual.preprocess_cfg | self._published
        height, width = size if isinstance(size := visual.image_size, tuple) else (size, size)
        if height != width:
            raise ModelError(f"{self.name} looks at images of {height}×{width}; only squares are supported")
        return Preprocess(
            height, tuple(said["mean"]), tuple(said["std"]), said["interpolation"], said["resize_mode"]
        )

    def _create(self, pretrained: str | None, **options: Any) -> Any:
        try:
            with _quiet_logging(), torch.random.fork_rng(devices=[]):
                model = open_clip.create_model(
                    self.name, pretrained=pretrained, force_quick_gelu=self.quick_gelu, **options
                )
        except _REFUSALS as error:
            raise ModelError(self._explain(pretrained, error)) from error
        check_activation(model, self.quick_gelu, self.name)
        return model

    def _explain(self, pretrained: str | None, error: Exception) -> str:
        reason = str(error).strip().splitlines()[0].rstrip(".:")
        if pretrained is None:
            return f"open_clip cannot make the model {self.name!r}: {reason[:200]}"
        hint = (
            "; without a connection give model.weights=<file>, or fill the Hugging Face cache (HF_HOME) on a "
            "machine that has one and set HF_HUB_OFFLINE=1"
            if self._tagged
            else ""
        )
        return f"cannot load {self.name} with weights {pretrained!r}: {reason}{hint}"


@lru_cache
def _content(folder: Path, state: str) -> dict[str, str]:
    """Hashes of the files of a folder by name; read once in a process while ``state`` stays the same."""
    places = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    shown = {p.as_posix(): path for p, path in places.items() if not any(x.startswith(".") for x in p.parts)}
    return {name: file_sha256(path) for name, path in shown.items()}


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """open_clip logs every step to the root logger, and the hub every attempt; errors say all we need."""
    loggers = [logging.getLogger(name) for name in (None, "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
