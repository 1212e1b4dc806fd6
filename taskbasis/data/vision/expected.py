"""Published zero-shot accuracies, and what a deviation from them usually comes from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from taskbasis.data.vision.catalog import dataset

TOLERANCE = 1.5
"""Percentage points within which published tables differ among themselves."""
_SPLIT_DEPENDENT = ("EuroSAT",)
_FILE = Path(__file__).with_name("zeroshot.yaml")


@cache
def published_zeroshot(model: str) -> Mapping[str, float]:
    """Top-1 in percent by task, empty for models that the field has no table of."""
    table: Mapping[str, Mapping[str, float]] = yaml.safe_load(_FILE.read_text())
    return table.get(model, {})


def deviations(model: str, found: Mapping[str, float]) -> dict[str, float]:
    """Percentage points above the published accuracy, for the tasks where more than the tolerance is meant.

    Args:
        model: architecture in open_clip's spelling.
        found: top-1 in percent by task.
    """
    known = published_zeroshot(model)
    apart = {t: value - known[t] for t, value in found.items() if t in known and t not in _SPLIT_DEPENDENT}
    return {task: difference for task, difference in apart.items() if abs(difference) > TOLERANCE}


def likely_cause(model: str, task: str, found: Mapping[str, float]) -> str:
    """What a deviation of one task usually comes from, given those of the others."""
    apart = deviations(model, found)
    chance = 100 / len(dataset(task).classes)
    compared = [t for t in found if t in published_zeroshot(model) and t not in _SPLIT_DEPENDENT]
    low = [t for t in compared if apart.get(t, 0.0) < 0]
    if found[task] < max(2 * chance, chance + 3) and published_zeroshot(model)[task] > 2 * chance:
        return "near chance: labels mean other classes than the prompts (class order of the source)"
    if len(compared) > 2 and len(low) > len(compared) / 2:
        return "most tasks are low: weights or activation (QuickGELU), or other preprocessing"
    if apart[task] > 0:
        return "higher than published: clean prompts, a variant of the dataset, or another test split"
    return "this task alone: another split, other class names or templates, or damaged images"
