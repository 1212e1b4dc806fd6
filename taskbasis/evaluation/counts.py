"""Exact scores: integer counts, compared as rational numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Count:
    """Correct predictions out of n."""

    correct: int
    n: int

    @property
    def top1(self) -> Fraction:
        """Accuracy as an exact fraction."""
        return Fraction(self.correct, self.n)

    def as_dict(self) -> dict[str, int]:
        """The form stored in results."""
        return {"correct": self.correct, "n": self.n}


Counts = Mapping[str, Count]
"""Counts by task name."""


def mean_top1(counts: Counts) -> Fraction:
    """Mean accuracy over tasks."""
    return sum((c.top1 for c in counts.values()), Fraction(0)) / len(counts)


def mean_normalized_top1(counts: Counts, finetuned: Counts) -> Fraction | None:
    """Mean over tasks of accuracy divided by the fine-tuned model's on the same split.

    Tasks without a fine-tuned model, or whose fine-tuned model got nothing right, have no such ratio and are
    left out; None if all are.
    """
    known = {task: count for task, count in finetuned.items() if count.correct}
    ratios = [c.top1 / known[task].top1 for task, c in counts.items() if task in known]
    return sum(ratios, Fraction(0)) / len(ratios) if ratios else None
