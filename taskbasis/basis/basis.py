"""A fitted basis: small matrices over named columns, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from taskbasis.basis import storage
from taskbasis.basis.diagnostics import Diagnostics, diagnose
from taskbasis.errors import BasisError
from taskbasis.vectors.gram import Gram
from taskbasis.vectors.passes import Progress
from taskbasis.vectors.vectorset import VectorSet

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

Over = Literal["sources", "atoms"]


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

    @classmethod
    def fitted(
        cls,
        method: str,
        settings: object,
        gram: Gram,
        encoder: Tensor,
        decoder: Tensor,
        *,
        offset: Tensor | None = None,
        bound: float | None = None,
        history: tuple[float, ...] = (),
    ) -> Basis:
        """A basis that a method has fitted to ``gram``, with its diagnostics.

        Args:
            method: name of the method.
            settings: the method object, a dataclass.
            gram: Gram matrix of the K sources, of which the first T are the task vectors.
            encoder: B of shape (K, M).
            decoder: W of shape (M, T).
            offset: o of shape (K,), or None.
            bound: the least loss of the method's kind of basis; the rank-M bound by default.
            history: losses of an iterative fit.
        """
        assert is_dataclass(settings)
        assert not isinstance(settings, type)
        return cls(
            method=method,
            parameters=asdict(settings),
            encoder=encoder,
            decoder=decoder,
            offset=offset,
            sources=gram.names,
            tasks=gram.names[: decoder.shape[1]],
            diagnostics=diagnose(gram, encoder, decoder, offset, bound=bound),
            history=history,
        )

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

    @property
    def vector_names(self) -> tuple[str, ...]:
        """Names of the vectors of a saved basis: the atoms, and the offset's last where there is one."""
        return storage.atom_names(self.M) + ((storage.OFFSET,) if self.offset is not None else ())

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
        } | self.diagnostics.as_dict()

    def save(
        self,
        folder: Path | str,
        vectors: VectorSet | None = None,
        *,
        dtype: str = "float32",
        threads: int | None = None,
        facts: storage.Facts | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Write a folder that :meth:`load` reads (see :mod:`taskbasis.basis.storage`); its path.

        Args:
            folder: where; an existing basis is replaced, anything else is not.
            vectors: the source columns (the task vectors), or the atoms of this basis as they were read
                from another folder; None writes the matrices alone, as for a basis that is drawn again.
            dtype: how atoms are stored: ``float32``, ``bfloat16`` or ``float16``.
            threads: how many write the vectors; all processors by default.
            facts: what else the description should say, such as where the checkpoints came from; called
                when the vectors are written.
            progress: called with the elements of a vector that are written and that there are.

        Raises:
            BasisError: if the vectors are neither, the dtype is none of these, or other files would be lost.
            StoreError: if the folder cannot be written.
        """
        description = self.to_json()
        for name in ("encoder", "decoder", "offset"):
            del description[name]
        named = {"encoder": self.encoder, "decoder": self.decoder, "offset": self.offset}
        storage.write_folder(
            Path(folder),
            description=description,
            matrices={name: matrix for name, matrix in named.items() if matrix is not None},
            vectors=None if vectors is None or self.drawn_again else self._stored(vectors),
            numel=None if vectors is None else vectors.numel,
            dtype=dtype,
            threads=threads,
            facts=facts,
            progress=progress,
        )
        return Path(folder)

    @classmethod
    def load(cls, folder: Path | str) -> Basis:
        """Read a saved basis and check every file of it.

        Raises:
            StoreError: naming the file that is missing, altered or of another format version.
        """
        return cls.from_json(storage.read_folder(Path(folder)))

    def _stored(self, vectors: VectorSet) -> VectorSet:
        """The atoms, and the offset's vector where there is one, from the sources or from atoms."""
        if vectors.names == self.vector_names:
            return vectors
        if vectors.names != self.sources:
            raise BasisError(
                f"these vectors are not the sources of the basis: {list(vectors.names)}, "
                f"the basis has {list(self.sources)}"
            )
        columns = [self.encoder] if self.offset is None else [self.encoder, self.offset[:, None]]
        return vectors.combine(torch.cat(columns, dim=1), self.vector_names)

    def to_json(self) -> dict[str, Any]:
        """Everything but the vectors, so that :meth:`from_json` gives an equal basis back."""
        return self.describe() | {"tasks": list(self.tasks), "history": list(self.history)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Basis:
        """The basis that :meth:`to_json` described."""
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
            diagnostics=Diagnostics.from_dict(stored),
            history=tuple(stored["history"]),
        )


class BasisMethod(Protocol):
    """How a basis is made: immutable settings and a pure ``fit``."""

    def fit(self, gram: Gram) -> Basis:
        """The basis of the columns of ``gram``; raises :class:`BasisError` for an M that does not fit."""


@runtime_checkable
class Trained(Protocol):
    """A method whose ``fit`` is a training, which Lightning runs in an experiment."""

    def fit_with(self, gram: Gram, trainer: Trainer) -> Basis:
        """The same basis as ``fit``, by a trainer for one epoch."""


@runtime_checkable
class NeedsSources(Protocol):
    """A method whose basis is made of more than the task vectors."""

    def sources(self, tasks: VectorSet) -> VectorSet:
        """The columns whose Gram matrix ``fit`` needs, the task vectors first."""

    def verify(self, basis: Basis, sources: VectorSet) -> None:
        """Check that columns which were drawn again are those that the basis was fitted to."""


@runtime_checkable
class ChecksTasks(Protocol):
    """A method that knows before it is fitted which bases there are."""

    def check(self, T: int) -> None:
        """Raise :class:`BasisError` if T tasks have no such basis, as when M is too large."""


def fit_all(gram: Gram, methods: Iterable[BasisMethod]) -> list[Basis]:
    """Fit many methods to one Gram matrix, for sweeps that touch weight space once."""
    return [method.fit(gram) for method in methods]


def check_rank(M: int, T: int, most: int | None = None, reason: str = "") -> None:
    """Refuse a number of atoms that no basis of T tasks can have.

    Raises:
        BasisError: naming M and what is accepted.
    """
    most = T if most is None else most
    if not 1 <= M <= most:
        raise BasisError(f"M={M} is not possible for {T} tasks{reason}; accepted: 1 ≤ M ≤ {most}")
