"""Merge methods that are linear in their inputs: they live in coefficient space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from taskbasis.basis.basis import Basis
from taskbasis.errors import ConfigError

INPUTS = ("atoms", "reconstructed", "tasks")


class MergeMethod(Protocol):
    """Turns K input columns into one vector."""

    @property
    def inputs(self) -> str:
        """What is merged: ``atoms`` s_m, ``reconstructed`` v̂_t or ``tasks`` τ_t."""

    def weights(self, count: int) -> Tensor:
        """Weight of each of ``count`` inputs, float64 of shape (count,)."""


@dataclass(frozen=True)
class Sum:
    """The plain sum of the inputs (task arithmetic, Ilharco et al. 2023)."""

    inputs: str = "atoms"

    def __post_init__(self) -> None:
        if self.inputs not in INPUTS:
            raise ConfigError(f"merge.inputs={self.inputs!r}: accepted are {', '.join(INPUTS)}")

    def weights(self, count: int) -> Tensor:
        """Ones."""
        return torch.ones(count, dtype=torch.float64)


def input_coefficients(basis: Basis, inputs: str) -> Tensor:
    """The inputs of a merge over the source columns of a basis: float64 of shape (K, number of inputs)."""
    if inputs == "atoms":
        return basis.encoder
    if inputs == "reconstructed":
        return basis.reconstruction_coefficients()
    return torch.eye(len(basis.sources), len(basis.tasks), dtype=torch.float64)
