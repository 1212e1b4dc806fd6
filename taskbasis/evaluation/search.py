"""The search for the scaling coefficient α on validation data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from taskbasis.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Evenly spaced α; the paper's is 21 points from 0 to 1."""

    start: float = 0.0
    stop: float = 1.0
    points: int = 21

    def __post_init__(self) -> None:
        finite = math.isfinite(self.start) and math.isfinite(self.stop) and self.points >= 1
        ordered = self.start < self.stop if self.points > 1 else self.start == self.stop
        # Where start and stop are next to each other, there are no floats between them.
        if not (finite and ordered) or len(set(self.alphas())) < self.points:
            raise ConfigError(
                f"search: {self.points} points from {self.start} to {self.stop} are no grid; need "
                "search.points ≥ 1 and search.start < search.stop, or search.points=1 and both equal"
            )

    def alphas(self) -> tuple[float, ...]:
        """The α in ascending order, each the float nearest to its exact value."""
        if self.points == 1:
            return (self.start,)
        low, high = Fraction(str(self.start)), Fraction(str(self.stop))
        step = (high - low) / (self.points - 1)
        return tuple(float(low + i * step) for i in range(self.points))


def best_alpha(alphas: Sequence[float], scores: Sequence[Fraction]) -> int:
    """Index of the highest score; ties keep the smallest α."""
    return min(range(len(alphas)), key=lambda i: (-scores[i], alphas[i]))
