"""The state of an unfinished run on disk: tensors as safetensors, everything else as JSON in its header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from taskbasis.errors import TrainingError

_STRUCTURE = "structure"
_PLAIN = (str, int, float, bool, type(None))


class TensorCheckpointIO(CheckpointIO):
    """Writes and reads Lightning's checkpoints without pickling anything."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a checkpoint; the file is complete or absent.

        Raises:
            TrainingError: naming a value that is neither a tensor nor plain.
        """
        tensors: dict[str, Tensor] = {}
        structure = json.dumps(_encode(checkpoint, "", tensors))
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        save_file(tensors, temporary, metadata={_STRUCTURE: structure})
        os.replace(temporary, target)

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint that was written so; tensors are on the CPU.

        Raises:
            TrainingError: if the file is damaged.
        """
        try:
            with safe_open(path, framework="pt") as file:
                structure = json.loads((file.metadata() or {})[_STRUCTURE])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise TrainingError(
                f"{path} is not the state of a run: {error}; remove it to start again"
            ) from error
        decoded: dict[str, Any] = _decode(structure, tensors)
        return decoded

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


class KeepState(Callback):
    """Writes the state every so many optimizer steps, so that a killed run can go on.

    Args:
        path: the file, replaced each time.
        every: optimizer steps between two writes; 0 never writes.
    """

    def __init__(self, path: Path, every: int) -> None:
        self._path, self._every, self._written = path, every, -1

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Take the state from which a run goes on as written."""
        # During the first parts of the next step the trainer still counts the steps of that state.
        self._written = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        """Write after every ``every``-th step, once."""
        step = trainer.global_step
        due = self._every and step and step % self._every == 0 and step < trainer.max_steps
        if due and step != self._written:
            self._written = step
            trainer.save_checkpoint(self._path)


def steps_done(path: Path) -> int:
    """Optimizer steps in a stored state; 0 if there is none."""
    if not path.is_file():
        return 0
    return int(TensorCheckpointIO().load_checkpoint(path)["global_step"])


def _encode(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        items = [[key, _encode(item, f"{name}/{key}", tensors)] for key, item in value.items()]
        return {"mapping": items}
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if isinstance(value, _PLAIN):
        return value
    raise TrainingError(f"the state has a {type(value).__name__} at {name}, which cannot be stored")


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "mapping":
        return {key: _decode(item, tensors) for key, item in content}
    items = [_decode(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items
