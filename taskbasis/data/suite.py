"""What a suite of tasks is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskSpec:
    """One classification task, without its pixels.

    Class names and prompt templates are data: knowing them touches no dataset.
    """

    name: str
    """Short name, unique in its suite; it is stored with every matrix and result."""
    classes: tuple[str, ...]
    """Class names in label order: label ``i`` is ``classes[i]``."""
    templates: tuple[str, ...]
    """Prompt templates with one ``{}`` each, averaged into the zero-shot head."""
