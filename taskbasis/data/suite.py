"""What a suite of tasks is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from taskbasis.data.preprocess import Preprocess
from taskbasis.errors import DataError
from taskbasis.store import Artifact, Store

WHOLE = slice(None)

ClassName = str | tuple[str, ...]
"""The name of a class in prompts; several are synonyms, whose embeddings are averaged."""


@dataclass(frozen=True)
class TaskSpec:
    """One classification task, without its pixels.

    Class names and prompt templates are data: knowing them touches no dataset.
    """

    name: str
    """Short name, unique in its suite; it is stored with every matrix and result."""
    classes: tuple[ClassName, ...]
    """Class names in label order: label ``i`` is ``classes[i]``."""
    templates: tuple[str, ...]
    """Prompt templates with one ``{}`` each, averaged into the zero-shot head."""


class TrainingSet(Protocol):
    """Training images of a task, with the suite's augmentation."""

    def __len__(self) -> int:
        """Number of images."""

    @property
    def in_memory(self) -> bool:
        """Whether images are at hand, so that no other process need decode them ahead."""

    def batch(
        self, indices: Tensor, generator: torch.Generator, part: slice = WHOLE
    ) -> tuple[Tensor, Tensor]:
        """Images (n, 3, H, W) and labels (n,) of a batch, augmented as ``generator`` says.

        Args:
            indices: the images of the whole batch.
            generator: at the start of the batch; what it draws does not depend on ``part``.
            part: which positions of the batch are wanted.
        """


class Suite(Protocol):
    """An ordered set of tasks with their pixels for one image encoder; picklable and cheap to make."""

    @property
    def name(self) -> str:
        """Short name, recorded in results."""

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """All tasks in order: scenario T is the first T of them."""

    @property
    def control(self) -> TaskSpec:
        """The task whose accuracy negation must keep."""

    def fitted(self, preprocess: Preprocess) -> Suite:
        """This suite with pixels as an image encoder wants them; the others are for a fitted one.

        Raises:
            ConfigError: if the suite cannot have such pixels.
        """

    def files_state(self, tasks: Sequence[str]) -> str:
        """Hash that changes with the files that the images of these tasks and the control are read from."""

    def pixels(self, store: Store, task: str, split: str) -> Artifact:
        """Evaluation pixels (file ``pixels.safetensors``) of split ``val`` or ``test``, made if absent."""

    def training_set(self, store: Store, task: str) -> tuple[TrainingSet, str]:
        """The training images, and a hash of everything that determines them and their augmentation."""


def find_tasks(suite: Suite, names: list[str]) -> list[TaskSpec]:
    """The tasks called ``names``, in that order.

    Raises:
        DataError: for a name that the suite does not have, or one given twice.
    """
    known = {task.name: task for task in suite.tasks}
    for name in names:
        if name not in known:
            raise DataError(f"unknown task {name!r} in tasks; suite {suite.name!r} has {', '.join(known)}")
        if names.count(name) > 1:
            raise DataError(f"task {name!r} is given {names.count(name)} times in tasks; once is allowed")
    return [known[name] for name in names]
