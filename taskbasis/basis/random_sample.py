"""A random choice of task vectors as the basis."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch

from taskbasis.basis.basis import Basis, check_rank
from taskbasis.basis.linear_algebra import best_decoder
from taskbasis.vectors.gram import Gram


@dataclass(frozen=True, kw_only=True)
class RandomSample:
    """M task vectors drawn without replacement; the others are reconstructed from them by least squares."""

    M: int
    """Number of task vectors kept, 1 ≤ M ≤ T."""
    seed: int = 0
    """Seed of ``random.Random(seed).sample(range(T), M)``, which reproduces published selections."""

    def check(self, T: int) -> None:
        """Raise :class:`BasisError` if T tasks have no such basis."""
        check_rank(self.M, T)

    def fit(self, gram: Gram) -> Basis:
        """Draw the tasks and fit the decoder.

        Args:
            gram: the Gram matrix of T task vectors.

        Raises:
            BasisError: if not 1 ≤ M ≤ T.
        """
        T = len(gram.names)
        self.check(T)
        chosen = sorted(random.Random(self.seed).sample(range(T), self.M))
        encoder = torch.eye(T, dtype=torch.float64)[:, chosen]
        decoder = best_decoder(gram.matrix, encoder)
        return Basis.fitted("random_sample", self, gram, encoder, decoder)
