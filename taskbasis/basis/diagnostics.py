"""What the Gram matrix says about a basis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from taskbasis.vectors.gram import Gram

ATTAINED = 1e-5
"""Relative excess over the spectral bound up to which a basis counts as optimal."""
_UNSAID = {"loss": math.nan, "spectral_bound": math.nan, "relative_error": math.nan, "condition": math.inf}
"""What a None in JSON stands for: an imported basis knows none of its losses."""


@dataclass(frozen=True)
class Diagnostics:
    """What the Gram matrix says about a basis."""

    loss: float
    """tr(EᵀGE)/T² with E = BW + o1ᵀ − I: the mean squared reconstruction error over T (Lemma 3.2)."""
    spectral_bound: float
    """The least loss of any rank-M reconstruction, Σ_{i>M} λ_i(G)/T²."""
    attainable: bool
    """Whether this method's constraints are known to allow the bound: it was reached to 1e-5."""
    relative_error: float
    """‖V̂ − V‖_F / ‖V‖_F."""
    condition: float
    """Condition number of BᵀGB, the Gram matrix of the atoms; infinite if it is singular."""
    row_sums: tuple[float, ...]
    """Σ_m B[k, m] of each source column: how much of it the summed atoms hold."""

    def as_dict(self) -> dict[str, Any]:
        """JSON values; numbers that JSON cannot say (infinite, unknown) become None."""
        values = asdict(self) | {"row_sums": list(self.row_sums)}
        unsaid = (name for name in _UNSAID if not math.isfinite(values[name]))
        return values | dict.fromkeys(unsaid)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Diagnostics:
        """The diagnostics that :meth:`as_dict` described, among other values."""
        facts = {f.name: stored[f.name] for f in fields(cls)}
        facts |= {name: value for name, value in _UNSAID.items() if facts[name] is None}
        return cls(**facts | {"row_sums": tuple(facts["row_sums"])})


def diagnose(
    gram: Gram,
    encoder: Tensor,
    decoder: Tensor,
    offset: Tensor | None = None,
    *,
    bound: float | None = None,
) -> Diagnostics:
    """Judge a basis over the K columns of ``gram``, of which the first T are the task vectors.

    Args:
        gram: the Gram matrix of the sources.
        encoder: B of shape (K, M).
        decoder: W of shape (M, T).
        offset: o of shape (K,), or None.
        bound: the least loss of the method's kind of basis; the rank-M bound by default.
    """
    (K, M), T = encoder.shape, decoder.shape[1]
    G = gram.matrix
    error = encoder @ decoder - torch.eye(K, T, dtype=torch.float64)
    if offset is not None:
        error = error + offset[:, None]
    squared = max(float(torch.einsum("ij,ik,kj->", error, G, error)), 0.0)
    total = float(G.diagonal()[:T].sum())
    bound = Gram(G[:T, :T], gram.names[:T]).spectral_bound(M) if bound is None else bound
    loss = squared / T**2
    atoms = torch.linalg.eigvalsh(encoder.T @ G @ encoder)
    return Diagnostics(
        loss=loss,
        spectral_bound=bound,
        attainable=loss <= (1 + ATTAINED) * bound + 1e-12 * total / T**2,
        relative_error=(squared / total) ** 0.5 if total > 0 else 0.0,
        condition=float(atoms[-1] / atoms[0]) if atoms[0] > 0 else float("inf"),
        row_sums=tuple(encoder.sum(dim=1).tolist()),
    )
