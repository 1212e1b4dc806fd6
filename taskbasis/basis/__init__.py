"""Basis methods: each fits small matrices to a Gram matrix. One file per method."""

from taskbasis.basis.autoencoder import Autoencoder
from taskbasis.basis.basis import Basis, BasisMethod, Diagnostics
from taskbasis.basis.identity import Identity

__all__ = ["Autoencoder", "Basis", "BasisMethod", "Diagnostics", "Identity"]
