"""The autoencoder basis method."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from taskbasis.basis.autoencoder.module import AutoencoderModule
from taskbasis.basis.autoencoder.objective import best_decoder, square_root
from taskbasis.basis.basis import Basis, check_rank, diagnose
from taskbasis.errors import BasisError
from taskbasis.trainer import quiet_trainer
from taskbasis.vectors.gram import Gram

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Autoencoder:
    """Atoms that are convex combinations of task vectors, learnt as a linear autoencoder (§3 of the paper).

    B = softmax(A/τ) down each column, W free. For a given B the best W is a least-squares solution, so
    only A is searched, by L-BFGS in float64 on the Gram matrix scaled to tr G = T. A start that stalls
    above the spectral bound is followed by another, up to ``restarts`` of them, and the best is kept.
    """

    M: int
    """Number of atoms, 1 ≤ M ≤ T."""
    seed: int = 0
    """Seed of the starts A ~ N(0, 1), drawn on the CPU."""
    tau: float = 5.0
    """Softmax temperature; 5 starts near the uniform B."""
    rounds: int = 100
    """Most rounds of 20 L-BFGS iterations from one start."""
    restarts: int = 5
    """Further starts allowed when one stalls."""
    tolerance: float = 1e-6
    """Relative excess over the spectral bound at which a fit is finished."""

    def __post_init__(self) -> None:
        if not (self.tau > 0 and self.rounds >= 1 and self.restarts >= 0 and self.tolerance > 0):
            raise BasisError(
                f"need tau > 0, rounds ≥ 1, restarts ≥ 0 and tolerance > 0; got tau={self.tau}, "
                f"rounds={self.rounds}, restarts={self.restarts}, tolerance={self.tolerance}"
            )

    def fit(self, gram: Gram) -> Basis:
        """Fit B and W.

        Args:
            gram: the Gram matrix of T task vectors.

        Raises:
            BasisError: if not 1 ≤ M ≤ T.
        """
        T = len(gram.names)
        check_rank(self.M, T)
        R = square_root(gram.matrix)
        total = float(gram.matrix.diagonal().sum())
        scale = T / total if total > 0 else 1.0
        module = self._search(R, gram.spectral_bound(self.M) * scale)
        B = module().detach()
        W = best_decoder(R, B)
        return Basis(
            method="ae",
            parameters=asdict(self),
            encoder=B,
            decoder=W,
            offset=None,
            sources=gram.names,
            tasks=gram.names,
            diagnostics=diagnose(gram, B, W),
            history=tuple(value / scale for value in module.history),
        )

    def _search(self, R: Tensor, bound: float) -> AutoencoderModule:
        generator = torch.Generator().manual_seed(self.seed)
        best: AutoencoderModule | None = None
        for start in range(1 + self.restarts):
            logits = torch.randn(len(R), self.M, dtype=torch.float64, generator=generator)
            module = AutoencoderModule(R, logits, tau=self.tau, bound=bound, tolerance=self.tolerance)
            trainer = quiet_trainer(max_epochs=1)
            rounds: DataLoader[int] = DataLoader(
                range(self.rounds),  # type: ignore[arg-type]
                batch_size=None,
                generator=generator,
            )
            trainer.fit(module, rounds)
            _log.debug("start %d ended %.3g above the bound %.6g", start, module.history[-1] - bound, bound)
            if best is None or module.history[-1] < best.history[-1]:
                best = module
            if best.history[-1] <= best.target:
                break
        assert best is not None
        return best
