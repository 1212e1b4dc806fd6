"""The autoencoder basis method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from taskbasis.basis.basis import Basis, check_rank
from taskbasis.basis.closed_form import closed_form
from taskbasis.basis.linear_algebra import Array, square_root
from taskbasis.errors import BasisError
from taskbasis.vectors.gram import Gram

# Lightning takes seconds to import, and who reads a saved basis fits none.
if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

    from taskbasis.basis.autoencoder.lbfgs import Starts

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
        self.check(len(gram.names))
        B, W, history = self._lbfgs(gram) if self.solver == "lbfgs" else self._adam(gram)
        return Basis.fitted("ae", self, gram, B, W, history=history)

    def _lbfgs(self, gram: Gram) -> tuple[Tensor, Tensor, tuple[float, ...]]:
        from taskbasis.basis.autoencoder.lbfgs import LbfgsModule
        from taskbasis.basis.autoencoder.objective import Objective

        T, total = len(gram.names), float(gram.matrix.diagonal().sum())
        unit = total / T if total > 0 else 1.0
        objective = Objective(square_root(gram.matrix).numpy(), self.M, self.encoder, self.decoder, self.tau)
        module = LbfgsModule(
            objective,
            self._starts(gram),
            bound=gram.spectral_bound(self.M) / unit,
            tolerance=self.tolerance,
            iterations=self.iterations,
        )
        _run(module, range(1 + self.restarts))
        return *module.matrices(), tuple(value * unit for value in module.history)

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

    def _adam(self, gram: Gram) -> tuple[Tensor, Tensor, tuple[float, ...]]:
        from taskbasis.basis.autoencoder.adam import ROUND, AdamModule, AdamSettings

        generator = torch.Generator().manual_seed(self.seed)
        module = AdamModule(
            gram.matrix.float(),
            torch.randn(len(gram.names), self.M, generator=generator),
            encoder=self.encoder,
            decoder=self.decoder,
            tau=self.tau,
            settings=AdamSettings(
                lr=self.lr,
                weight_decay=self.weight_decay,
                grad_clip=self.grad_clip,
                batch_cols=self.batch_cols,
                anneal_every=self.anneal_every,
                anneal_factor=self.anneal_factor,
            ),
            generator=generator,
        )
        full, rest = divmod(self.steps, ROUND)
        _run(module, [ROUND] * full + [rest] * bool(rest))
        B, W = (matrix.detach().double() for matrix in module.matrices())
        return B, W, tuple(module.history)


def _run(module: LightningModule, batches: Sequence[int]) -> None:
    from torch.utils.data import DataLoader

    from taskbasis.trainer import quiet_trainer

    loader: DataLoader[int] = DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=None,
        generator=torch.Generator(),
    )
    quiet_trainer(max_epochs=1).fit(module, loader)
