"""The drawings and captions of pre-training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context

import numpy as np
import torch

from taskbasis.data.mini import CONTROL, MINI_VERSION, TASKS
from taskbasis.data.mini.camera import Pixels, scan
from taskbasis.data.mini.canvas import Canvas, Style
from taskbasis.data.mini.glyphs import draw_named_glyph, named_glyphs
from taskbasis.data.mini.tasks import FAMILIES

CLEAN_SHARE = 0.25
GLYPH_SHARE = 0.08
_GLYPH_CAPTIONS = ("the character {}.", "{}.")


@dataclass(frozen=True)
class Concept:
    """Something that can be drawn, with its captions."""

    family: int
    """Index into the suite's families; one past the end for named characters."""
    label: int
    captions: tuple[str, ...]


@cache
def concepts() -> tuple[Concept, ...]:
    """Every class of every family, then the named characters."""
    classes = [
        Concept(index, label, tuple(caption.format(name) for caption in family.captions))
        for index, family in enumerate(FAMILIES)
        for label, name in enumerate(family.spec.classes)
    ]
    glyphs = [
        Concept(len(FAMILIES), label, tuple(caption.format(name) for caption in _GLYPH_CAPTIONS))
        for label, (_, name) in enumerate(named_glyphs())
    ]
    return (*classes, *glyphs)


@cache
def _cumulative() -> np.ndarray:
    """Cumulative probabilities of the concepts: a family's share also goes with the root of its size."""
    shares = [family.share * math.sqrt(len(family.spec.classes)) for family in FAMILIES]
    weights = [
        GLYPH_SHARE / len(named_glyphs())
        if concept.family == len(FAMILIES)
        else (1 - GLYPH_SHARE)
        * shares[concept.family]
        / sum(shares)
        / len(FAMILIES[concept.family].spec.classes)
        for concept in concepts()
    ]
    return np.cumsum(weights)


def draw(index: int, seed: int) -> tuple[Pixels, int]:
    """Drawing ``index`` of a pre-training run, (3, 32, 32) uint8, and the index of its concept."""
    rng = np.random.default_rng([MINI_VERSION, seed, index])
    which = min(int(np.searchsorted(_cumulative(), rng.random())), len(concepts()) - 1)
    concept = concepts()[which]
    canvas = Canvas(rng, Style.CLEAN if rng.random() < CLEAN_SHARE else Style.WILD)
    drawer = FAMILIES[concept.family].draw if concept.family < len(FAMILIES) else draw_named_glyph
    drawer(canvas, concept.label)
    return scan(canvas), which


def _draw_range(bounds: tuple[int, int], seed: int) -> tuple[np.ndarray, list[int]]:
    drawings = [draw(index, seed) for index in range(*bounds)]
    return np.stack([pixels for pixels, _ in drawings]), [which for _, which in drawings]


def draw_all(count: int, seed: int, processes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``count`` drawings as uint8 (count, 3, 32, 32) and the int64 indices of their concepts (count,)."""
    chunk = 2000
    bounds = [(start, min(start + chunk, count)) for start in range(0, count, chunk)]
    images = torch.empty((count, 3, 32, 32), dtype=torch.uint8)
    indices = torch.empty(count, dtype=torch.int64)
    with get_context("spawn").Pool(processes) as pool:
        for (start, end), (pixels, which) in zip(
            bounds, pool.imap(partial(_draw_range, seed=seed), bounds), strict=True
        ):
            images[start:end] = torch.from_numpy(pixels)
            indices[start:end] = torch.tensor(which)
    return images, indices


def texts() -> Iterator[str]:
    """Every text the model should have words for: captions, and the prompts of tasks and control."""
    for concept in concepts():
        yield from concept.captions
    for spec in (*TASKS, CONTROL):
        for name in spec.classes:
            yield from (template.format(name) for template in spec.templates)
