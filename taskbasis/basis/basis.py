"""A fitted basis: small matrices over named columns, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from taskbasis.errors import BasisError
from taskbasis.vectors.gram import Gram

if TYPE_CHECKING:
    from taskbasis.vectors.passes import Progress
    from taskbasis.vectors.vectorset import VectorSet

Over = Literal["sources", "atoms"]

ATTAINED = 1e-5
"""Relative excess over the spectral bound up to which a basis counts as optimal."""


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


@dataclass(frozen=True, eq=False)
class Basis:
    """Basis encoder B, basis decoder W and offset o over named source columns.

    The atoms are S = X·B for the K source columns X (the task vectors, K = T, for most methods) and the
    reconstruction is V̂ = X·(B·W + o·1ᵀ).
    """

    method: str
    """Name of the method that made it."""
    parameters: Mapping[str, Any]
    """The method's settings, as plain values."""
    encoder: Tensor
    """B, float64 of shape (K, M)."""
    decoder: Tensor
    """W, float64 of shape (M, T)."""
    offset: Tensor | None
    """o, float64 of shape (K,), or None."""
    sources: tuple[str, ...]
    """Names of the K source columns."""
    tasks: tuple[str, ...]
    """Names of the T tasks, in order."""
    diagnostics: Diagnostics
    history: tuple[float, ...] = field(default=(), repr=False)
    """Loss after each recorded step of an iterative fit; empty for closed forms."""

    @property
    def M(self) -> int:
        """Number of atoms."""
        return self.encoder.shape[1]

    @property
    def drawn_again(self) -> bool:
        """Whether the atoms are made of seeded noise, so that no vector has to be stored."""
        return len(self.sources) > len(self.tasks)

    @property
    def stored_vectors(self) -> int:
        """Vectors that addition and reconstruction need: the atoms and, with an offset, one more."""
        return 0 if self.drawn_again else self.M + (self.offset is not None)

    def stored_bytes(self, numel: int, itemsize: int = 4) -> int:
        """Bytes on disk for vectors of ``numel`` elements, the matrices included."""
        matrices = (
            self.encoder.numel() + self.decoder.numel() + (0 if self.offset is None else len(self.sources))
        )
        return self.stored_vectors * numel * itemsize + 8 * matrices

    def require_tasks(self, tasks: Sequence[str]) -> None:
        """Refuse to be used for other tasks, or the same in another order, than it was made for.

        Raises:
            BasisError: naming the first difference.
        """
        for ours, theirs in zip_longest(self.tasks, tasks):
            if ours != theirs:
                raise BasisError(
                    f"this basis is of the tasks {list(self.tasks)}, it was asked for {list(tasks)}; "
                    f"they first differ at {ours!r} and {theirs!r}"
                )

    def addition_coefficients(self, over: Over = "sources") -> Tensor:
        """Coefficients of Σ_m s_m: B·1 of shape (K,) over the sources, ones of shape (M,) over the atoms."""
        return self.encoder.sum(dim=1) if over == "sources" else torch.ones(self.M, dtype=torch.float64)

    def reconstruction_coefficients(self, over: Over = "sources") -> Tensor:
        """Coefficients of V̂: B·W + o·1ᵀ of shape (K, T) over the sources, W of shape (M, T) over the atoms.

        Over the atoms the offset, where there is one, is a vector of its own that is added to each.
        """
        if over == "atoms":
            return self.decoder
        product = self.encoder @ self.decoder
        return product if self.offset is None else product + self.offset[:, None]

    def describe(self) -> dict[str, Any]:
        """Everything but the vectors as JSON values: the ``basis`` part of ``result.json``."""
        return {
            "method": self.method,
            "M": self.M,
            "T": len(self.tasks),
            "parameters": dict(self.parameters),
            "sources": list(self.sources),
            "encoder": self.encoder.tolist(),
            "decoder": self.decoder.tolist(),
            "offset": None if self.offset is None else self.offset.tolist(),
            "stored_vectors": self.stored_vectors,
        } | finite(asdict(self.diagnostics) | {"row_sums": list(self.diagnostics.row_sums)})

    def save(
        self,
        folder: Path | str,
        vectors: VectorSet | None = None,
        *,
        dtype: str = "float32",
        facts: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Write a folder that :meth:`load` reads; see :func:`taskbasis.basis.storage.save_basis`."""
        from taskbasis.basis.storage import save_basis

        return save_basis(self, folder, vectors, dtype=dtype, facts=facts, progress=progress)

    @classmethod
    def load(cls, folder: Path | str) -> Basis:
        """Read a saved basis; see :func:`taskbasis.basis.storage.load_basis`."""
        from taskbasis.basis.storage import load_basis

        return load_basis(folder)

    def to_json(self) -> dict[str, Any]:
        """Everything but the vectors, so that :meth:`from_json` gives an equal basis back."""
        return self.describe() | {"tasks": list(self.tasks), "history": list(self.history)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Basis:
        """The basis that :meth:`to_json` described."""
        facts = {f.name: stored[f.name] for f in fields(Diagnostics)}
        # JSON has no infinity and no NaN: an imported basis knows none of its losses.
        unknown = {name: float("nan") for name in ("loss", "spectral_bound", "relative_error")}
        unknown["condition"] = float("inf")
        facts |= {name: value for name, value in unknown.items() if facts[name] is None}
        facts["row_sums"] = tuple(facts["row_sums"])
        encoder, decoder, offset = (
            None if stored[name] is None else torch.tensor(stored[name], dtype=torch.float64)
            for name in ("encoder", "decoder", "offset")
        )
        assert encoder is not None
        assert decoder is not None
        return cls(
            method=stored["method"],
            parameters=stored["parameters"],
            encoder=encoder,
            decoder=decoder,
            offset=offset,
            sources=tuple(stored["sources"]),
            tasks=tuple(stored["tasks"]),
            diagnostics=Diagnostics(**facts),
            history=tuple(stored["history"]),
        )


class BasisMethod(Protocol):
    """How a basis is made: immutable settings and a pure ``fit``."""

    def fit(self, gram: Gram) -> Basis:
        """The basis of the columns of ``gram``; raises :class:`BasisError` for an M that does not fit."""


@runtime_checkable
class NeedsSources(Protocol):
    """A method whose basis is made of more than the task vectors."""

    def sources(self, tasks: VectorSet) -> VectorSet:
        """The columns whose Gram matrix ``fit`` needs, the task vectors first."""

    def verify(self, basis: Basis, sources: VectorSet) -> None:
        """Check that columns which were drawn again are those that the basis was fitted to."""


def fit_all(gram: Gram, methods: Iterable[BasisMethod]) -> list[Basis]:
    """Fit many methods to one Gram matrix, for sweeps that touch weight space once."""
    return [method.fit(gram) for method in methods]


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace infinite and undefined floats by None, which JSON can say."""
    infinite = {k for k, v in values.items() if isinstance(v, float) and not abs(v) < float("inf")}
    return {k: None if k in infinite else v for k, v in values.items()}


def check_rank(M: int, T: int, most: int | None = None, reason: str = "") -> None:
    """Refuse a number of atoms that no basis of T tasks can have.

    Raises:
        BasisError: naming M and what is accepted.
    """
    most = T if most is None else most
    if not 1 <= M <= most:
        raise BasisError(f"M={M} is not possible for {T} tasks{reason}; accepted: 1 ≤ M ≤ {most}")


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
