"""The autoencoder basis method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from taskbasis.basis.basis import Basis, check_rank
from taskbasis.basis.closed_form import closed_form
from taskbasis.basis.linear_algebra import Array, square_root
from taskbasis.errors import BasisError
from taskbasis.vectors.gram import Gram

# Lightning takes seconds to import, which only a training should cost.
if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from taskbasis.basis.autoencoder.adam import AdamModule
    from taskbasis.basis.autoencoder.lbfgs import Search, Starts

CHOICES = {"encoder": ("softmax", "linear"), "decoder": ("linear", "softmax")}
_CLOSED_FORM = 3
_POSITIVE = (
    *("tau", "iterations", "tolerance", "steps", "lr", "grad_clip"),
    *("batch_cols", "anneal_every", "anneal_factor"),
)


@dataclass(frozen=True, kw_only=True)
class Autoencoder:
    """Atoms that are convex combinations of task vectors, learnt as a linear autoencoder (§3 of the paper).

    B = softmax(A/τ) down each column, W free. With ``solver: lbfgs`` only A is searched, since the best W
    for a given B is a least-squares solution, in float64 on the Gram matrix scaled to tr G = T. A start
    that stalls above the spectral bound is followed by others, near uniform and spread in turn; the fourth
    is the closed form, where there is one, so that the bound is reached wherever it can be.
    ``solver: adam`` is the paper's optimiser with the paper's defaults, for reproduction.
    """

    M: int
    """Number of atoms, 1 ≤ M ≤ T."""
    seed: int = 0
    """Seed of the starts A ~ N(0, 1), drawn on the CPU."""
    tau: float = 5.0
    """Softmax temperature; 5 starts near the uniform B."""
    encoder: str = "softmax"
    """``softmax`` or ``linear`` (B free)."""
    decoder: str = "linear"
    """``linear`` or ``softmax`` (columns of W are convex combinations, too)."""
    solver: str = "lbfgs"
    """``lbfgs`` or ``adam``."""
    iterations: int = 5000
    """lbfgs: most iterations over all starts."""
    restarts: int = 20
    """lbfgs: further starts allowed when one stalls."""
    tolerance: float = 1e-6
    """lbfgs: relative excess over the spectral bound at which a fit is finished."""
    steps: int = 6000
    """adam: optimiser steps."""
    lr: float = 0.01
    """adam: learning rate."""
    weight_decay: float = 1e-6
    """adam: L2 decay of A and W; it keeps the loss above the bound, the more the smaller the norms."""
    grad_clip: float | None = None
    """adam: largest norm of the gradient."""
    batch_cols: int | None = None
    """adam: columns of the error in each step's loss; all by default."""
    anneal_every: int | None = None
    """adam: steps between multiplications of τ by ``anneal_factor``."""
    anneal_factor: float = 0.9
    """adam: see ``anneal_every``."""

    def __post_init__(self) -> None:
        for name, accepted in (CHOICES | {"solver": ("lbfgs", "adam")}).items():
            if getattr(self, name) not in accepted:
                raise BasisError(f"basis.{name}={getattr(self, name)!r}: accepted are {', '.join(accepted)}")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BasisError(f"basis.{name}={value}: must be above 0")
        for name in ("restarts", "weight_decay"):
            if getattr(self, name) < 0:
                raise BasisError(f"basis.{name}={getattr(self, name)}: must be 0 or more")

    def check(self, T: int) -> None:
        """Raise :class:`BasisError` if T tasks have no such basis."""
        check_rank(self.M, T)

    def fit(self, gram: Gram) -> Basis:
        """Fit B and W.

        Args:
            gram: the Gram matrix of T task vectors.

        Raises:
            BasisError: if not 1 ≤ M ≤ T.
        """
        if self.solver == "adam":
            from taskbasis.trainer import quiet_trainer

            return self.fit_with(gram, quiet_trainer(max_epochs=1))
        self.check(len(gram.names))
        search = self._search(gram)
        for number in self._numbers:
            search.begin(number)
            if search.finished:
                break
        return self._basis(gram, search)

    def fit_with(self, gram: Gram, trainer: Trainer) -> Basis:
        """As :meth:`fit`, by Lightning: the same basis.

        Args:
            gram: the Gram matrix of T task vectors.
            trainer: for one epoch.

        Raises:
            BasisError: if not 1 ≤ M ≤ T.
        """
        from taskbasis.basis.autoencoder.module import SearchModule

        self.check(len(gram.names))
        if self.solver == "adam":
            module = self._adam(gram)
            trainer.fit(module)
            return self._basis(gram, module)
        search = self._search(gram)
        trainer.fit(SearchModule(search, self._numbers))
        return self._basis(gram, search)

    @property
    def _numbers(self) -> range:
        return range(1 + self.restarts)

    def _search(self, gram: Gram) -> Search:
        from taskbasis.basis.autoencoder.lbfgs import Search
        from taskbasis.basis.autoencoder.objective import Objective

        T, total = len(gram.names), float(gram.matrix.diagonal().sum())
        unit = total / T if total > 0 else 1.0
        return Search(
            Objective(square_root(gram.matrix).numpy(), self.M, self.encoder, self.decoder, self.tau),
            self._starts(gram),
            bound=gram.spectral_bound(self.M) / unit,
            unit=unit,
            tolerance=self.tolerance,
            iterations=self.iterations,
        )

    def _starts(self, gram: Gram) -> Starts:
        """Random logits of scale 1 and τ in turn; as the fourth start those of the closed form, if any."""
        generator = torch.Generator().manual_seed(self.seed)

        def start(number: int) -> Array:
            A = torch.randn(len(gram.names), self.M, dtype=torch.float64, generator=generator)
            if number % 2:
                A *= self.tau
            if number == _CLOSED_FORM and self.encoder == "softmax":
                B = closed_form(gram.matrix, self.M)
                A = A if B is None else self.tau * B.clamp_min(1e-12).log()
            return A.numpy()

        return start

    def _adam(self, gram: Gram) -> AdamModule:
        from taskbasis.basis.autoencoder.adam import AdamModule, AdamSettings

        generator = torch.Generator().manual_seed(self.seed)
        return AdamModule(
            gram.matrix.float(),
            torch.randn(len(gram.names), self.M, generator=generator),
            encoder=self.encoder,
            decoder=self.decoder,
            tau=self.tau,
            settings=AdamSettings(
                steps=self.steps,
                lr=self.lr,
                weight_decay=self.weight_decay,
                grad_clip=self.grad_clip,
                batch_cols=self.batch_cols,
                anneal_every=self.anneal_every,
                anneal_factor=self.anneal_factor,
            ),
            generator=generator,
        )

    def _basis(self, gram: Gram, found: Search | AdamModule) -> Basis:
        B, W = (matrix.detach().double() for matrix in found.matrices())
        return Basis.fitted("ae", self, gram, B, W, history=tuple(found.losses))
