"""Forty Gram matrices on which basis methods are compared: ordinary ones and the awkward kinds.

Each comes with the number of atoms to fit. They are made from seeds, so the list is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from taskbasis.vectors import Gram

Case = tuple[str, Gram, int]


def factor_vectors(T: int, seed: int, shared: float = 0.5) -> Tensor:
    """Task vectors with a shared direction, individual parts and norms within a factor of 3, (400, T)."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(400, 1, dtype=torch.float64, generator=generator)
    own = torch.randn(400, T, dtype=torch.float64, generator=generator)
    size = 0.5 + torch.rand(T, dtype=torch.float64, generator=generator)
    return shared * common + own * size


def gram_of(V: Tensor) -> Gram:
    """The Gram matrix of the columns of V, shape (D, T)."""
    return named(V.T @ V)


def named(matrix: Tensor) -> Gram:
    """A Gram matrix with tasks called t0, t1, …"""
    return Gram((matrix + matrix.T) / 2, tuple(f"t{i}" for i in range(len(matrix))))


def cases() -> list[Case]:
    """The list: name, Gram matrix and M."""
    return [*_ordinary(), *_awkward()]


def _ordinary() -> Iterator[Case]:
    for T in (8, 14, 20):
        for M in (T // 4, T // 2, 3 * T // 4):
            yield f"factor T={T} M={M}", gram_of(factor_vectors(T, seed=T + M)), M
    for scale in (1e-4, 1e-2, 1e2, 1e4):
        yield f"norms times {scale:g}", gram_of(scale * factor_vectors(14, seed=1)), 7
    yield "two tasks, one atom", gram_of(factor_vectors(2, seed=2)), 1
    yield "two tasks, two atoms", gram_of(factor_vectors(2, seed=2)), 2
    yield "one atom", gram_of(factor_vectors(14, seed=3)), 1
    yield "as many atoms as tasks", gram_of(factor_vectors(14, seed=3)), 14


def _awkward() -> Iterator[Case]:
    double = torch.float64
    for T, M in ((8, 4), (14, 7), (20, 10)):
        spread = torch.logspace(-1, 1, T, dtype=double)
        yield f"norms 0.1 to 10, T={T}", gram_of(factor_vectors(T, seed=10 + T) * spread), M
        V = factor_vectors(T, seed=20 + T)
        V[:, 3], V[:, 5] = V[:, 0], V[:, 1]
        yield f"two tasks twice, T={T}", gram_of(V), M
        V = factor_vectors(T, seed=30 + T)
        V[:, 2] = 0
        yield f"a zero task vector, T={T}", gram_of(V), M
        signs = torch.where(torch.arange(T) % 2 == 0, 1.0, -1.0)
        yield f"negative inner products, T={T}", gram_of(factor_vectors(T, seed=40 + T) * signs), M
        V = factor_vectors(T, seed=50 + T)
        blocks = torch.block_diag(*[torch.ones(T // 2, T // 2, dtype=double)] * 2)
        yield f"two blocks, T={T}", named((V.T @ V) * blocks), M
    for T, M in ((8, 2), (14, 3), (20, 5)):
        yield f"orthogonal, equal norms, T={T}", named(torch.eye(T, dtype=double)), M
    yield "orthogonal, norms apart", named(torch.diag(torch.arange(1.0, 15.0, dtype=double))), 7
    yield "equal eigenvalues at the cut", _with_spectrum([9.0, 4, 4, 4, 1, 1, 0.5, 0.5], seed=7), 2
    yield (
        "rank below M",
        gram_of(torch.randn(4, 14, dtype=double, generator=torch.Generator().manual_seed(8))),
        7,
    )
    V = torch.randn(42, 14, dtype=double, generator=torch.Generator().manual_seed(9))
    yield "nothing shared", gram_of(V), 7
    yield "equicorrelated, negative", named(1.05 * torch.eye(8, dtype=double) - 0.12), 4


def _with_spectrum(values: list[float], seed: int) -> Gram:
    generator = torch.Generator().manual_seed(seed)
    Q, _ = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64, generator=generator))
    return named(Q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ Q.T)
