"""One place that makes Lightning trainers: quiet, with nothing written behind our back."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from torch.utils.data import DataLoader, Dataset

from taskbasis.devices import own_gpus

Batch = TypeVar("Batch")

_NOT_FOR_USERS = (
    "does not have many workers",
    "LeafSpec.*is deprecated",
    "in eval mode at the start of training",
    "will run with no optimizer",
    "dataloader is not resumable",
    "`srun` command is available",
    "is smaller than the logging interval",
)
"""Warnings of Lightning that nothing follows from here."""


def quiet_trainer(
    *, accelerator: str = "cpu", devices: int | list[int] = 1, precision: str = "32-true", **options: Any
) -> Trainer:
    """A Lightning trainer without logger, checkpoints, progress bar, summary and start-up messages.

    Results, progress and records are ours to write (see ``taskbasis.tracking``); ``options`` go to
    ``lightning.pytorch.Trainer``.
    """
    _be_quiet()
    return _QuietTrainer(
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


def in_order(batches: Dataset[Batch] | Sequence[Batch]) -> DataLoader[Batch]:
    """A loader whose batches are these; global randomness is left alone."""
    return DataLoader(batches, batch_size=None, generator=torch.Generator())  # type: ignore[arg-type]


class _QuietTrainer(Trainer):
    """Left by Ctrl-C as other code is."""

    def fit(self, *args: Any, **kwargs: Any) -> None:
        with _interruptible():
            super().fit(*args, **kwargs)

    def validate(self, *args: Any, **kwargs: Any) -> Any:
        with _interruptible():
            return super().validate(*args, **kwargs)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Undo what Lightning makes of Ctrl-C: an exit with code 1, after which Ctrl-C is ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


class Together(DDPStrategy):
    """Several devices, each with a process that begins as quietly as this one and never outlives it."""

    def __init__(self) -> None:
        super().__init__(start_method="spawn")

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a new process."""
        super().__setstate__(state)
        _be_quiet()

    def setup_environment(self) -> None:
        """Begin in a new process."""
        threading.Thread(target=_leave_without_parent, daemon=True).start()
        super().setup_environment()

    def on_exception(self, exception: BaseException) -> None:
        """End the processes, which would train on after an interruption."""
        super().on_exception(exception)
        assert isinstance(self.launcher, _MultiProcessingLauncher)
        for process in self.launcher.procs:
            process.kill()
        for process in self.launcher.procs:
            process.join()


def _leave_without_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _be_quiet() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in _NOT_FOR_USERS:
        warnings.filterwarnings("ignore", message=f".*{message}.*")


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where and how exactly numbers are computed."""

    accelerator: str = "cpu"
    """Lightning's name: ``cpu``, ``gpu`` or ``auto``; recorded, never part of a key."""
    devices: int = 1
    """On which each batch of fine-tuning is computed together; scores are computed on one."""
    workers: int = 1
    """Processes of a job, each with devices of its own; never part of a key."""
    precision: str = "32-true"
    """Lightning's name, such as ``32-true`` or ``bf16-mixed``."""
    threads: int = 1
    """Threads of each process on the CPU; they change the order of sums, so they are part of keys."""
    compile: bool = False
    """Whether image encoders are compiled for fine-tuning."""
    loader_workers: int = 0
    """Processes that decode training images ahead of each device."""
    save_every: int = 500
    """Optimizer steps after which the state of an unfinished fine-tuning is written; 0 never writes it."""

    @property
    def arithmetic(self) -> str:
        """What changes the rounding of numbers, as keys have it."""
        return f"{self.precision} compiled" if self.compile else self.precision

    def loaders(self, *, in_memory: bool) -> int:
        """Processes that decode training images, which those in memory do not need."""
        return 0 if in_memory else self.loader_workers

    def trainer_options(self) -> dict[str, Any]:
        """Arguments for :func:`quiet_trainer`, to compute on one device."""
        return self._options(1)

    def training_options(self) -> dict[str, Any]:
        """Arguments for :func:`quiet_trainer`, to train on all devices together."""
        if self.devices == 1:
            return self._options(1)
        # The data module gives each device its share of a batch; Lightning's sampler would share whole ones.
        return self._options(self.devices) | {"strategy": Together(), "use_distributed_sampler": False}

    def _options(self, devices: int) -> dict[str, Any]:
        which = own_gpus(self.devices)[:devices] if self.accelerator == "gpu" else devices
        return {"accelerator": self.accelerator, "devices": which, "precision": self.precision}
