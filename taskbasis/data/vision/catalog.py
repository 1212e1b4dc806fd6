"""The descriptions of the datasets, read from ``tasks/*.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from taskbasis.data.suite import ClassName, TaskSpec
from taskbasis.errors import ConfigError, DataError

TASKS = (
    *("Cars", "DTD", "EuroSAT", "GTSRB", "MNIST", "RESISC45", "SVHN", "SUN397"),
    *("CIFAR100", "STL10", "Flowers102", "OxfordIIITPet", "PCAM", "FER2013"),
    *("EMNIST", "CIFAR10", "Food101", "FashionMNIST", "RenderedSST2", "KMNIST"),
)
"""The order of the published code of arXiv 2502.01015; scenarios are its first 8, 14 and 20."""
CONTROL = "ImageNet"
PROMPTS = ("reference", "clean")
KINDS = ("folder", "torchvision", "hf")
"""Kinds of sources, in the order in which they are looked for."""

_FOLDER = Path(__file__).with_name("tasks")


@dataclass(frozen=True)
class SourceSpec:
    """One place a dataset can come from."""

    kind: str
    """One of :data:`KINDS`."""
    settings: Mapping[str, Any]
    """What the reader of this kind has to know."""

    def describe(self) -> dict[str, Any]:
        """The form stored in keys and results."""
        return {"kind": self.kind, **self.settings}


@dataclass(frozen=True)
class Dataset:
    """Everything particular to one dataset."""

    name: str
    variant: str | None
    classes: tuple[ClassName, ...]
    """Names for prompts, in label order."""
    templates: tuple[str, ...]
    labels: tuple[str, ...]
    """What files call the classes, in label order; folders are called so."""
    spellings: tuple[frozenset[str], ...]
    """All ways a source may spell each class, in label order, as :func:`spelling` makes them equal."""
    sizes: Mapping[str, int]
    """Published number of images by split."""
    sources: Mapping[str, SourceSpec] = field(repr=False)
    download_gb: float
    """Roughly what has to be fetched."""
    transpose: bool = False
    """Whether height and width of every picture are exchanged."""
    allowed_twins: float = 0.01
    """Share of evaluation images that may also be among the training images; the original sets have some."""

    @property
    def spec(self) -> TaskSpec:
        """The task as the rest of the framework sees it."""
        return TaskSpec(self.name, self.classes, self.templates)

    def expected_sizes(self, source: SourceSpec) -> Mapping[str, int]:
        """Number of images by split that this source must have."""
        sizes: Mapping[str, int] = source.settings.get("sizes", self.sizes)
        return sizes


@cache
def dataset(name: str, variant: str | None = None, prompts: str = "reference") -> Dataset:
    """The description of a dataset.

    Args:
        name: one of :data:`TASKS` or the control.
        variant: a named variant of the literature, None for what the published code uses.
        prompts: ``reference`` formats the class names of the lineage, oddities included; ``clean`` does not.

    Raises:
        DataError: for an unknown name.
        ConfigError: for an unknown variant or kind of prompts.
    """
    if name not in (*TASKS, CONTROL):
        raise DataError(f"unknown dataset {name!r}; there are {', '.join((*TASKS, CONTROL))}")
    if prompts not in PROMPTS:
        raise ConfigError(f"suite.prompts={prompts!r}: accepted are {', '.join(PROMPTS)}")
    known = _read(name)
    variants, clean = known.pop("variants", {}), known.pop("clean", {})
    if variant is not None and variant not in variants:
        raise ConfigError(
            f"suite.variants.{name}={variant!r}: accepted are null{''.join(f', {v}' for v in variants)}"
        )
    known |= variants.get(variant, {})
    if prompts == "clean" and "classes" not in variants.get(variant, {}):
        known |= clean
    labels = tuple(known.pop("labels", known["classes"]))
    plain = {"folder": {"folder": name, "splits": {s: [s] for s in ("train", "val", "test")}}}
    sources = {k: SourceSpec(k, s) for k, s in (plain | known.pop("sources")).items()}
    aliases, others = known.pop("aliases", []), known.pop("spellings", {})
    classes = tuple(c if isinstance(c, str) else tuple(c) for c in known.pop("classes"))
    return Dataset(
        name=name,
        variant=variant,
        classes=classes,
        templates=tuple(known.pop("templates")),
        labels=tuple(map(str, labels)),
        spellings=_spellings(labels, classes, *aliases, tuple(others.get(label, label) for label in labels)),
        sources={kind: sources[kind] for kind in KINDS if kind in sources},
        **known,
    )


def spelling(name: str) -> str:
    """A class name without case, spaces and punctuation, by which spellings are compared.

    >>> spelling("T - shirt / top") == spelling("T-shirt/top")
    True
    """
    return "".join(character for character in name.lower() if character.isalnum())


def _spellings(*lists: tuple[ClassName, ...]) -> tuple[frozenset[str], ...]:
    columns = zip(*lists, strict=True)
    return tuple(
        frozenset(spelling(s) for name in names for s in ((name,) if isinstance(name, str) else name))
        for names in columns
    )


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load((_FOLDER / f"{name}.yaml").read_text(), _LOADER)
    return content


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
