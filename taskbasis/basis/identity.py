"""No compression: every task vector is its own atom (task arithmetic)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from taskbasis.basis.basis import Basis
from taskbasis.vectors.gram import Gram


@dataclass(frozen=True)
class Identity:
    """B = W = I and M = T, so that addition is plain task arithmetic (Ilharco et al. 2023)."""

    def fit(self, gram: Gram) -> Basis:
        """The trivial basis."""
        eye = torch.eye(len(gram.names), dtype=torch.float64)
        return Basis.fitted("none", self, gram, eye, eye)
