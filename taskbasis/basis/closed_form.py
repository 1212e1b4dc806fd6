"""Convex atoms that reach the spectral bound, constructed without an optimiser.

Let U hold the top-M eigenvectors of G. A basis reaches the bound iff its columns span the columns of U
up to the null space of G, so convex atoms can iff that space has a member x that is positive where it
can be. Then B = x·1ᵀ/Σx + ε·N·C does, with N spanning the rest of the space in columns that sum to 0 and
C the vertices of a regular simplex around 0; the row sums of B are proportional to x. The derivation is
in ``docs/bases.md``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from taskbasis.basis.linear_algebra import leading_eigenvectors

SPREAD = 0.95
"""ε as a share of the largest that keeps B ≥ 0.

Not a small one: at 1 % the atoms agree to four digits, and storing them at two bytes each loses what
tells them apart.
"""
INTERIOR = 0.1
"""How far x is moved from the boundary of the cone towards its inside, where it touches it."""
_TINY = 1e-9


def closed_form(G: Tensor, M: int) -> Tensor | None:
    """A convex B of shape (T, M) that reaches the spectral bound, or None if none is found.

    The row sums of B are proportional to x, which is

    1. p = UUᵀ1 if that is positive: the member of the space closest to plain task arithmetic;
    2. else, if the space has a positive member, the one in its positive cone with the largest G-cosine
       to 1, moved inwards by :data:`INTERIOR`.

    Args:
        G: Gram matrix of shape (T, T).
        M: number of atoms, 1 ≤ M ≤ T.
    """
    values, U = leading_eigenvectors(G, M)
    U = without_empty_rows(U)
    p = U @ U.sum(dim=0)
    if bool((p > _TINY * p.abs().max()).all()):
        return spread(U, U, p)
    null = null_space(G, values, U)
    for space in (U, torch.cat([U, null], dim=1)) if null.shape[1] else (U,):
        inside = interior_point(space)
        if inside is not None:
            x = cone_projection(G, space)
            x = inside if x is None else (1 - INTERIOR) * x / x.sum() + INTERIOR * inside
            return spread(space, U, x)
    return None


def without_empty_rows(space: Tensor) -> Tensor:
    """The space with rows that are zero up to rounding set to zero: tasks that it does not contain."""
    present = space.norm(dim=1, keepdim=True) > _TINY
    return torch.where(present, space, 0.0)


def null_space(G: Tensor, values: Tensor, U: Tensor) -> Tensor:
    """Eigenvectors of the zero eigenvalues that U does not hold, shape (T, k)."""
    M = U.shape[1]
    _, every = leading_eigenvectors(G, len(G))
    zero = values <= 1e-12 * values[0]
    zero[:M] = False
    return without_empty_rows(every[:, zero])


def interior_point(space: Tensor) -> Tensor | None:
    """The x in a subspace with Σx = 1 whose smallest entry, on the subspace's support, is largest.

    None if that entry is not positive: no convex combination of task vectors is inside.

    Args:
        space: orthonormal columns, shape (T, k).
    """
    # SciPy takes longer to import than most commands need for anything else that is not torch.
    from scipy.optimize import linprog

    S = space.numpy()
    support = np.abs(S).max(axis=1) > 0
    k = S.shape[1]
    objective = np.zeros(k + 1)
    objective[-1] = -1.0
    found = linprog(
        objective,
        A_ub=np.hstack([-S[support], np.ones((int(support.sum()), 1))]),
        b_ub=np.zeros(int(support.sum())),
        A_eq=np.append(S.sum(axis=0), 0.0)[None],
        b_eq=[1.0],
        bounds=[(None, None)] * k + [(None, 1.0)],
        method="highs",
    )
    if not found.success or found.x[-1] <= _TINY:
        return None
    return torch.from_numpy(S @ found.x[:-1]).clamp_min(0.0)


def cone_projection(G: Tensor, space: Tensor) -> Tensor | None:
    """The member of {x in a subspace, x ≥ 0} with the largest G-cosine to 1, or None if there is none.

    That is the projection of 1 on the cone in the metric of G. With H = SᵀGS + δI for orthonormal
    columns S, its dual is the non-negative least-squares problem min ‖H^(-1/2)(Sᵀμ + SᵀG1)‖ over μ ≥ 0,
    and x = S·H⁻¹(Sᵀμ + SᵀG1).
    """
    from scipy.optimize import nnls

    H = space.T @ G @ space
    values, vectors = torch.linalg.eigh(H)
    values = values.clamp_min(1e-10 * float(values[-1]))
    root = (vectors / values.sqrt()).T
    target = root @ (space.T @ G.sum(dim=1))
    mu, _ = nnls((root @ space.T).numpy(), -target.numpy(), maxiter=50 * len(G))
    x = (space @ (root.T @ (root @ (space.T @ torch.from_numpy(mu)) + target))).clamp_min(0.0)
    return x if float(x.sum()) > _TINY else None


def spread(space: Tensor, U: Tensor, x: Tensor) -> Tensor:
    """B = x·1ᵀ/Σx + ε·N·C: M columns around x in its subspace, as far apart as B ≥ 0 allows.

    Args:
        space: orthonormal columns of the subspace, shape (T, k), k ≥ M.
        U: the top-M eigenvectors, shape (T, M); they lie in the subspace.
        x: a positive member of it on its support, shape (T,).
    """
    M = U.shape[1]
    x = x / x.sum()
    if M == 1:
        return x.clamp_min(0.0)[:, None]
    directions = U @ complement(U.T @ x)
    directions = directions - x[:, None] * directions.sum(dim=0)
    steps = directions @ simplex(M)
    room = torch.where(steps < 0, x[:, None] / -steps.clamp_max(-1e-300), torch.inf)
    B = (x[:, None] + SPREAD * room.min() * steps).clamp_min(0.0)
    return B / B.sum(dim=0)


def complement(a: Tensor) -> Tensor:
    """Orthonormal columns orthogonal to ``a``, shape (M, M − 1), by one Householder reflection.

    The reflection maps a/|a| to ∓e₁, with the sign that cancels nothing; the result is unique.
    """
    v = a / a.norm()
    sign = 1.0 if float(v[0]) >= 0 else -1.0
    w = v.clone()
    w[0] += sign
    H = torch.eye(len(a), dtype=a.dtype) - 2 * torch.outer(w, w) / w.square().sum()
    columns: Tensor = H[:, 1:]
    return columns


def simplex(M: int) -> Tensor:
    """Vertices of a regular simplex around 0 as columns, shape (M − 1, M), all of norm 1.

    Vertex 1 lies on the first axis; the Helmert matrix fixes the orientation.
    """
    rows = torch.zeros(M - 1, M, dtype=torch.float64)
    for i in range(1, M):
        rows[i - 1, i - 1 :] = -1.0 / (M - i)
        rows[i - 1, i - 1] = 1.0
        rows[i - 1] /= rows[i - 1].norm()
    vertices: Tensor = rows * (M / (M - 1)) ** 0.5
    return vertices
