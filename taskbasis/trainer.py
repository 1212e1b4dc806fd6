"""One place that makes Lightning trainers: quiet, with nothing written behind our back."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Trainer

from taskbasis.parallel import default_workers


def quiet_trainer(
    *, accelerator: str = "cpu", devices: int | str = 1, precision: str = "32-true", **options: Any
) -> Trainer:
    """A Lightning trainer without logger, checkpoints, progress bar, summary and start-up messages.

    Results, progress and records are ours to write (see ``taskbasis.tracking``); ``options`` go to
    ``lightning.pytorch.Trainer``.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
    warnings.filterwarnings("ignore", message=".*will run with no optimizer.*")
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    return Trainer(
        accelerator=accelerator,
        devices=devices,
        precision=precision,  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where and how exactly numbers are computed."""

    accelerator: str = "cpu"
    """Lightning's name: ``cpu``, ``gpu`` or ``auto``; recorded, never part of a key."""
    devices: int = 1
    precision: str = "32-true"
    """Lightning's name, such as ``32-true`` or ``bf16-mixed``."""
    threads: int = 1
    """Threads of each process on the CPU; they change the order of sums, so they are part of keys."""
    compile: bool = False
    """Whether image encoders are compiled for fine-tuning."""
    loader_workers: int | None = None
    """Processes that decode training images ahead of the device; None: all processors beside a GPU."""
    save_every: int = 500
    """Optimizer steps after which the state of an unfinished fine-tuning is written; 0 never writes it."""

    @property
    def arithmetic(self) -> str:
        """What changes the rounding of numbers, as keys have it."""
        return f"{self.precision} compiled" if self.compile else self.precision

    def loaders(self, *, in_memory: bool) -> int:
        """Processes that decode training images, which those in memory do not need."""
        if in_memory:
            return 0
        if self.loader_workers is None:
            return default_workers() if self.accelerator == "gpu" else 0
        return self.loader_workers

    def trainer_options(self) -> dict[str, Any]:
        """Arguments for :func:`quiet_trainer`."""
        return {"accelerator": self.accelerator, "devices": self.devices, "precision": self.precision}
