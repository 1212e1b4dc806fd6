"""From configuration to plain objects: the door at which config objects stop."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from taskbasis import parallel
from taskbasis.basis import PCA, Autoencoder, BasisMethod, ChecksTasks
from taskbasis.config import Composed
from taskbasis.data.suite import Suite, TaskSpec, find_tasks
from taskbasis.devices import visible_gpus
from taskbasis.errors import ConfigError
from taskbasis.importers.published import FolderSource, FusionBench, ModelSource, PublishedBasis, TallMasks
from taskbasis.merging import MergeMethod
from taskbasis.models.clip import ClipModel
from taskbasis.store import Store
from taskbasis.targets import instantiate, target_errors
from taskbasis.trainer import Compute
from taskbasis.training.recipe import Recipe

GROUPS_WITH_TARGETS = ("model", "suite", "basis", "merge", "search")
PROTOCOLS = ("addition", "negation")
SOURCES = ("train", "folder", "tall_masks", "fusion_bench", "published_bases")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")


@dataclass(frozen=True)
class Plan:
    """What a run does, in plain objects."""

    store: Store
    clip: ClipModel
    suite: Suite
    tasks: tuple[TaskSpec, ...]
    imported: ModelSource | None
    """Where fine-tuned models come from; None to train them."""
    published: PublishedBasis | None
    """Where a whole basis comes from, so that no fine-tuned model is needed."""
    recipe: Recipe
    finetune_seed: int
    basis: BasisMethod
    merge: MergeMethod
    alphas: tuple[float, ...]
    protocols: tuple[str, ...]
    control_threshold: Fraction
    batch_size: int
    compute: Compute


def build_plan(composed: Composed) -> Plan:
    """Make the objects that a configuration describes.

    Raises:
        ConfigError: listing every argument that does not fit what it configures, or the first value
            that is out of range.
        TaskbasisError: whatever the objects themselves refuse.
    """
    config = composed.config
    if errors := [e for group in GROUPS_WITH_TARGETS for e in target_errors(group, config[group])]:
        raise ConfigError("; ".join(errors))
    if config.checkpoints.source not in SOURCES:
        raise ConfigError(
            f"checkpoints.source={config.checkpoints.source!r}: accepted are {', '.join(SOURCES)}"
        )
    if not config.evaluation.protocols:
        raise ConfigError(f"evaluation.protocols=[]: at least one of {', '.join(PROTOCOLS)} is needed")
    if unknown := [p for p in config.evaluation.protocols if p not in PROTOCOLS]:
        raise ConfigError(f"evaluation.protocols: unknown {unknown}; accepted are {', '.join(PROTOCOLS)}")
    if config.evaluation.batch_size < 1:
        raise ConfigError(f"evaluation.batch_size={config.evaluation.batch_size}: must be 1 or more")
    clip: ClipModel = instantiate(config.model)
    suite = _suite(config, clip)
    tasks = _tasks(suite, config)
    basis: BasisMethod = instantiate(config.basis)
    if isinstance(basis, ChecksTasks):
        basis.check(len(tasks))
    return Plan(
        store=Store(config.paths.store),
        clip=clip,
        suite=suite,
        tasks=tasks,
        imported=_imported(config.checkpoints),
        published=_published(config, basis),
        recipe=_recipe(config.finetune),
        finetune_seed=config.finetune.seed,
        basis=basis,
        merge=instantiate(config.merge),
        alphas=instantiate(config.search).alphas(),
        protocols=tuple(config.evaluation.protocols),
        control_threshold=_threshold(config.evaluation.control_threshold),
        batch_size=config.evaluation.batch_size,
        compute=_compute(config.trainer),
    )


def build_suite(composed: Composed) -> tuple[Suite, tuple[TaskSpec, ...]]:
    """The suite of a configuration, fitted to its model, and the tasks that are wanted.

    Raises:
        ConfigError: listing every argument that does not fit what it configures.
        TaskbasisError: whatever the objects themselves refuse.
    """
    config = composed.config
    if errors := [e for group in ("model", "suite") for e in target_errors(group, config[group])]:
        raise ConfigError("; ".join(errors))
    suite = _suite(config, instantiate(config.model))
    return suite, _tasks(suite, config)


def _suite(config: DictConfig, clip: ClipModel) -> Suite:
    suite: Suite = instantiate(config.suite).fitted(clip.preprocess())
    return suite


def _tasks(suite: Suite, config: DictConfig) -> tuple[TaskSpec, ...]:
    names = [task.name for task in suite.tasks]
    if config.tasks is not None and not config.tasks:
        raise ConfigError(f"tasks=[]: at least one is needed; suite {suite.name!r} has {', '.join(names)}")
    if config.tasks is not None:
        return tuple(find_tasks(suite, list(config.tasks)))
    if not 1 <= (size := config.scenario.size) <= len(names):
        there = f"the number of tasks of suite {suite.name!r}"
        raise ConfigError(f"scenario.size={size}: must be between 1 and {len(names)}, {there}")
    return suite.tasks[:size]


def _threshold(value: float) -> Fraction:
    if not 0 <= value <= 1:
        raise ConfigError(f"evaluation.control_threshold={value}: must be between 0 and 1")
    return Fraction(str(value))


def _compute(trainer: Any) -> Compute:
    accelerator = _accelerator(trainer.accelerator)
    if trainer.precision not in PRECISIONS:
        raise ConfigError(f"trainer.precision={trainer.precision!r}: accepted are {', '.join(PRECISIONS)}")
    if trainer.threads < 1:
        raise ConfigError(f"trainer.threads={trainer.threads}: must be 1 or more")
    workers = _workers(trainer, accelerator)
    # Beside a GPU the processors have nothing to do but to decode; without one they train.
    idle = parallel.default_workers() // (workers * trainer.devices) if accelerator == "gpu" else 0
    return Compute(
        accelerator=accelerator,
        devices=trainer.devices,
        workers=workers,
        precision=trainer.precision,
        threads=trainer.threads,
        compile=trainer.compile,
        loader_workers=idle if trainer.loader_workers is None else trainer.loader_workers,
        save_every=trainer.save_every,
    )


def _accelerator(wanted: str) -> str:
    import torch

    if wanted not in ("auto", "cpu", "gpu"):
        raise ConfigError(f"trainer.accelerator={wanted!r}: accepted are auto, cpu, gpu")
    if wanted == "gpu" and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator=gpu: no GPU is visible here; trainer=cpu or trainer=auto")
    if wanted == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    return wanted


def _workers(trainer: Any, accelerator: str) -> int:
    """Processes of a job: each has its own devices, as long as there are enough."""
    gpu = accelerator == "gpu"
    there = len(visible_gpus()) if gpu else parallel.processors()
    kind = "GPUs" if gpu else "processors"
    if not 1 <= trainer.devices <= there:
        raise ConfigError(
            f"trainer.devices={trainer.devices}: must be between 1 and {there}, the {kind} that are here"
        )
    if trainer.workers is not None and trainer.workers < 1:
        raise ConfigError(f"trainer.workers={trainer.workers}: must be 1 or more, or null for all {kind}")
    share = there // parallel.jobs_at_once() // trainer.devices
    return int(trainer.workers or max(1, share))


def _imported(checkpoints: DictConfig) -> ModelSource | None:
    if checkpoints.source == "folder":
        return FolderSource(Path(checkpoints.root).expanduser())
    if checkpoints.source == "tall_masks":
        return TallMasks(repo=checkpoints.repo, revision=checkpoints.revision)
    if checkpoints.source == "fusion_bench":
        return FusionBench(owner=checkpoints.repo, revision=checkpoints.revision)
    return None


def _published(config: DictConfig, basis: BasisMethod) -> PublishedBasis | None:
    given = config.checkpoints
    if given.source != "published_bases":
        return None
    if not isinstance(basis, Autoencoder | PCA):
        raise ConfigError(
            "checkpoints=published_bases: there are basis=ae and basis=pca, of other methods none"
        )
    if config.merge.get("inputs") == "tasks":
        raise ConfigError(
            "merge.inputs=tasks: published bases come without task vectors; atoms or reconstructed"
        )
    root = None if given.root is None else Path(given.root).expanduser()
    method = "PCA" if isinstance(basis, PCA) else "AE"
    return PublishedBasis(method, basis.M, root, given.repo, given.revision)


def _recipe(finetune: DictConfig) -> Recipe:
    plain = OmegaConf.to_container(finetune)
    assert isinstance(plain, dict)
    known = {str(k): v for k, v in plain.items() if k != "seed"}
    epochs = known["epochs"]
    numbers = list(epochs.values()) if isinstance(epochs, dict) else [epochs]
    if any(not isinstance(n, int) or isinstance(n, bool) for n in numbers if n is not None):
        raise ConfigError(f"finetune.epochs={epochs!r}: accepted are null, a number, or a number by task")
    return Recipe(**known)
