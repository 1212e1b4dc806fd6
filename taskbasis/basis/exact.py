"""The best convex basis in closed form."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace

from torch import Tensor

from taskbasis.basis.autoencoder.method import Autoencoder
from taskbasis.basis.basis import Basis, check_rank
from taskbasis.basis.closed_form import closed_form
from taskbasis.basis.linear_algebra import best_decoder
from taskbasis.errors import BasisError
from taskbasis.vectors.gram import Gram

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Exact:
    """Convex atoms that reach the spectral bound in closed form; ours, see ``docs/bases.md``.

    Where no closed form exists the bound cannot be reached, as far as is known; then an autoencoder is
    fitted from several starts, and its gap to the bound is reported: it is never called optimal.
    """

    M: int
    """Number of atoms, 1 ≤ M ≤ T."""
    restarts: int = 20
    """Restarts of the autoencoder fit where there is no closed form."""

    def __post_init__(self) -> None:
        if self.restarts < 0:
            raise BasisError(f"basis.restarts={self.restarts}: must be 0 or more")

    def check(self, T: int) -> None:
        """Raise :class:`BasisError` if T tasks have no such basis."""
        check_rank(self.M, T)

    def fit(self, gram: Gram) -> Basis:
        """Construct B and W.

        Args:
            gram: the Gram matrix of T task vectors.

        Raises:
            BasisError: if not 1 ≤ M ≤ T.
        """
        self.check(len(gram.names))
        warn_if_undetermined(gram.spectrum, self.M)
        encoder = closed_form(gram.matrix, self.M)
        if encoder is None:
            return self._fallback(gram)
        decoder = best_decoder(gram.matrix, encoder)
        return Basis.fitted("exact", self, gram, encoder, decoder)

    def _fallback(self, gram: Gram) -> Basis:
        best = Autoencoder(M=self.M, restarts=self.restarts).fit(gram)
        d = best.diagnostics
        if not d.attainable:
            gap = d.loss / d.spectral_bound - 1 if d.spectral_bound > 0 else float("inf")
            _log.warning(
                "no convex basis with M=%d is known to reach the spectral bound of this Gram matrix; "
                "the best that was found is %.2g above it (relative)",
                self.M,
                gap,
            )
        return replace(best, method="exact", parameters=asdict(self))


def warn_if_undetermined(values: Tensor, M: int) -> None:
    """Say so when the M-th and the next eigenvalue agree: the best subspace is then not unique."""
    first, here = float(values[0]), float(values[M - 1])
    after = float(values[M]) if len(values) > M else 0.0
    if here - after < 1e-8 * first and after > 1e-12 * first:
        _log.warning(
            "eigenvalues %d and %d of the Gram matrix agree (%.9g, %.9g): the best subspace with M=%d is "
            "not determined, and one of many is used",
            M,
            M + 1,
            here,
            after,
            M,
        )
