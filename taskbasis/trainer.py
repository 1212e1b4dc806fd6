"""One place that makes Lightning trainers: quiet, with nothing written behind our back."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Trainer


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

    def trainer_options(self) -> dict[str, Any]:
        """Arguments for :func:`quiet_trainer`."""
        return {"accelerator": self.accelerator, "devices": self.devices, "precision": self.precision}
