"""What may be said to ``python -m taskbasis.run``: keys, types and defaults, which Hydra checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ScenarioConfig:
    """How many of the suite's tasks, from the first on."""

    size: int = 8


@dataclass
class CheckpointsConfig:
    """Where fine-tuned models come from."""

    source: str = "train"
    root: str | None = None
    repo: str | None = None
    revision: str = "main"


@dataclass
class FinetuneConfig:
    """See :class:`taskbasis.training.recipe.Recipe`."""

    lr: float = 1e-5
    weight_decay: float = 0.1
    batch_size: int = 128
    epochs: Any = None
    max_steps: int | None = 2000
    warmup: float = 500
    grad_clip: float = 1.0
    accumulate: int = 1
    seed: int = 0


@dataclass
class EvaluationConfig:
    """Which protocols, and the batch size of every score."""

    protocols: list[str] = field(default_factory=lambda: ["addition"])
    batch_size: int = 200
    control_threshold: float = 0.95


@dataclass
class TrainerConfig:
    """See :class:`taskbasis.trainer.Compute`."""

    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    threads: int = 1
    workers: int | None = None
    compile: bool = False
    loader_workers: int | None = None
    save_every: int = 500


@dataclass
class TrackerConfig:
    """Weights & Biases, which mirrors the local records."""

    mode: str = "auto"
    project: str = "taskbasis"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    timeout: int = 30
    weights: bool = False


@dataclass
class PathsConfig:
    """Folders; relative ones count from where the command is run."""

    root: str = "outputs"
    store: str = "${paths.root}/store"
    runs: str = "${paths.root}/runs"
    data: str = "${paths.root}/data"


@dataclass
class RunConfig:
    """Everything that can be said to ``python -m taskbasis.run``."""

    model: Any = None
    suite: Any = None
    scenario: ScenarioConfig = field(default_factory=ScenarioConfig)
    checkpoints: CheckpointsConfig = field(default_factory=CheckpointsConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    basis: Any = None
    merge: Any = None
    search: Any = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    M: Any = None
    tasks: list[str] | None = None
    seed: int = 0
    smoke: bool | None = None
    verbosity: str = "info"
    force: bool = False
    on_error: str = "continue"
    objective: str = "addition/val/normalized_top1"
