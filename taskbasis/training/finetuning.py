"""Fine-tuning of all tasks of a job, each once, by worker processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file, save_file
from torch.multiprocessing.spawn import ProcessException

from taskbasis.data.suite import Suite, TaskSpec
from taskbasis.errors import TrainingError
from taskbasis.models.clip import ClipModel, image_encoder
from taskbasis.models.stages import ENCODER, HEAD
from taskbasis.parallel import Begin, Progress, Report, Workers
from taskbasis.store import Artifact, StageKey, Store
from taskbasis.trainer import Compute, quiet_trainer
from taskbasis.training.data import FinetuneData, Share, TrainingSteps
from taskbasis.training.module import FineTuner
from taskbasis.training.recipe import Recipe
from taskbasis.training.state import KeepState, TensorCheckpointIO, steps_done

_log = logging.getLogger(__name__)
STAGE = "fine-tuning"
STATE = "state.safetensors"


@dataclass(frozen=True)
class FinetuneKey(StageKey):
    """Key of a fine-tuned image encoder θ_t."""

    STAGE: ClassVar[str] = "finetuned"
    VERSION: ClassVar[int] = 2
    task: str
    pretrained: str
    """Content of θ₀."""
    head: str
    """Content of the zero-shot head."""
    training_set: str
    """Content of the training images and their augmentation."""
    mean: tuple[float, ...]
    """Per channel: pixels are normalised by the image encoder."""
    std: tuple[float, ...]
    recipe: dict[str, Any]
    seed: int
    precision: str
    threads: int
    devices: int


@dataclass(frozen=True)
class FinetuneJob:
    """One task to fine-tune: everything a worker process needs."""

    store: Store
    clip: ClipModel
    suite: Suite
    task: TaskSpec
    theta0: Artifact
    head: Artifact
    recipe: Recipe
    seed: int
    compute: Compute


def finetune(job: FinetuneJob, report: Report) -> Artifact:
    """The fine-tuned image encoder (file ``encoder.safetensors``), trained unless it is stored.

    Raises:
        TrainingError: if the loss is not finite.
    """
    job = replace(job, recipe=job.recipe.of(job.task.name))
    images, identity = job.suite.training_set(job.store, job.task.name)
    shown = job.clip.preprocess()
    key = FinetuneKey(
        task=job.task.name,
        pretrained=job.theta0.content,
        head=job.head.content,
        training_set=identity,
        mean=shown.mean,
        std=shown.std,
        recipe=job.recipe.identity(),
        seed=job.seed,
        precision=job.compute.arithmetic,
        threads=job.compute.threads,
        devices=job.compute.devices,
    )
    steps = job.recipe.steps(len(images))
    share = Share(accumulate=job.recipe.accumulate)
    batches = TrainingSteps(images, batch_size=job.recipe.batch_size, steps=steps, seed=job.seed, share=share)
    state = job.store.unfinished(key) / STATE
    artifact = job.store.make(key, lambda folder: _train(job, batches, folder, state, report))
    job.store.forget_unfinished(key)
    report(Progress(STAGE, job.task.name, steps, steps))
    return artifact


def finetune_all(jobs: list[FinetuneJob], workers: Workers) -> dict[str, Artifact]:
    """Fine-tune every task; the artifacts by task name, in the order of the jobs."""
    workers.report(Begin(STAGE, len(jobs)))
    found = workers.map(finetune, jobs)
    return {job.task.name: artifact for job, artifact in zip(jobs, found, strict=True)}


def _train(
    job: FinetuneJob, batches: TrainingSteps, folder: Path, state: Path, report: Report
) -> dict[str, Any]:
    encoder = image_encoder(job.clip).train()
    encoder.load_state_dict(load_file(job.theta0.file(ENCODER)))
    head = load_file(job.head.file(HEAD))["weight"]
    module = FineTuner(
        encoder, head, job.recipe, steps=batches.steps, task=job.task.name, compiled=job.compute.compile
    )
    if done := steps_done(state):
        _log.info("%s: going on after %d of %d steps", job.task.name, done, batches.steps)
    trainer = quiet_trainer(
        **job.compute.training_options(),
        max_steps=batches.steps,
        gradient_clip_val=job.recipe.grad_clip or None,
        accumulate_grad_batches=job.recipe.accumulate,
        callbacks=[_Beside(job.compute.threads, report), KeepState(state, job.compute.save_every)],
        plugins=[TensorCheckpointIO()],
    )
    start = done * job.recipe.accumulate
    data = FinetuneData(batches, job.compute.loaders(in_memory=batches.images.in_memory), start)
    with _explained(job.task.name):
        trainer.fit(module, data, ckpt_path=str(state) if done else None)
    save_file({k: v.float().cpu().contiguous() for k, v in encoder.state_dict().items()}, folder / ENCODER)
    return {
        "task": job.task.name,
        "provenance": f"fine-tuned from {job.clip.name} by taskbasis",
        "quick_gelu": job.clip.quick_gelu,
        "preprocess": asdict(job.clip.preprocess()),
        "steps": batches.steps,
        "last_loss": module.last_loss,
    }


@contextmanager
def _explained(task: str) -> Iterator[None]:
    """Errors of the processes of several devices, which arrive as text."""
    try:
        yield
    except ProcessException as error:
        last = str(error).strip().splitlines()[-1]
        raise TrainingError(
            last.split("TrainingError: ")[-1] if "TrainingError" in last else f"fine-tuning {task!r}: {last}"
        ) from error


class _Beside(Callback):
    """Progress, and the number of threads, which the processes of several devices have to be told again."""

    def __init__(self, threads: int, report: Report) -> None:
        self._threads, self._report = threads, report

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        torch.set_num_threads(self._threads)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        assert isinstance(module, FineTuner)
        if not trainer.is_global_zero:
            return
        values = {"loss": module.last_loss}
        self._report(Progress(STAGE, module.task, trainer.global_step, module.steps, values))
