"""Reading what others wrote: pickles of the lineage, plain state dicts, Hugging Face towers. Read-only.

Nothing here imports or runs what a file names; see :mod:`taskbasis.importers.unpickler`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from taskbasis.errors import ImporterError
from taskbasis.importers.checkpoint import Checkpoint, check_layout, shapes
from taskbasis.importers.hf_clip import from_hf, is_hf_clip, to_hf
from taskbasis.importers.machine import Inert
from taskbasis.importers.modules import import_module
from taskbasis.importers.runs import ImportedRun, import_run, is_run
from taskbasis.importers.state_dict import import_state_dict, is_state_dict
from taskbasis.importers.unpickler import load
from taskbasis.vectors.files import TensorFile
from taskbasis.vectors.layout import Selection

__all__ = [
    "Checkpoint",
    "ImportedRun",
    "check_layout",
    "filled",
    "import_checkpoint",
    "import_run",
    "is_run",
    "selected",
    "shapes",
    "to_hf",
]

PICKLES = (".pt", ".pth", ".bin")


def import_checkpoint(path: Path) -> Checkpoint:
    """Read weights: a pickle of ``torch.save``, or safetensors, whose CLIP towers get open_clip's names.

    Raises:
        ImporterError: naming what is damaged, refused or not understood.
        VectorError: if a safetensors file cannot be read.
    """
    if path.suffix in PICKLES:
        checkpoint = _import_pickle(path)
    else:
        file = TensorFile(path)
        checkpoint = Checkpoint("state dict", {name: file.read(name) for name in file.shapes}, file.metadata)
    if is_hf_clip(checkpoint.tensors):
        folder = path if path.is_dir() else path.parent
        return replace(from_hf(checkpoint.tensors), facts=_hf_facts(folder))
    return checkpoint


def selected(checkpoint: Checkpoint, select: Selection) -> Checkpoint:
    """Only the tensors that ``select`` chooses.

    Raises:
        ImporterError: if there are none.
    """
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if select(name)}
    if not tensors:
        raise ImporterError(f"no tensor{select}; there are {list(checkpoint.tensors)[:5]} …")
    return replace(checkpoint, tensors=tensors)


def filled(checkpoint: Checkpoint, base: Mapping[str, Tensor]) -> Checkpoint:
    """With the tensors of ``base`` that the checkpoint lacks.

    Published vision towers often lack the projection, which they did not fine-tune.
    """
    return replace(checkpoint, tensors=dict(base) | dict(checkpoint.tensors))


def _import_pickle(path: Path) -> Checkpoint:
    value = load(path, modules=True).value
    if isinstance(value, Inert):
        return import_module(path, value)
    if is_state_dict(value):
        return import_state_dict(path, value)
    hint = "; convert the folder that it lies in" if is_run(path.parent) else ""
    raise ImporterError(f"{path} holds a {type(value).__name__}, neither a module nor a state dict{hint}")


def _hf_facts(folder: Path) -> dict[str, str]:
    """The activation, from the ``config.json`` beside the weights where there is one."""
    path = folder / "config.json"
    facts = {"class": "transformers.CLIPVisionModel"}
    if not path.is_file():
        return facts
    try:
        config = json.loads(path.read_text())
        act = config.get("vision_config", config).get("hidden_act", "quick_gelu")
    except (ValueError, AttributeError) as error:
        raise ImporterError(f"{path} cannot be read: {error}") from error
    return facts | {"quick_gelu": str(act == "quick_gelu").lower()}
