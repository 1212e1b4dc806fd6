"""Basis methods: each fits small matrices to a Gram matrix. One file per method."""

from taskbasis.basis.autoencoder import Autoencoder
from taskbasis.basis.basis import Basis, BasisMethod, ChecksTasks, NeedsSources, Trained, fit_all
from taskbasis.basis.diagnostics import Diagnostics
from taskbasis.basis.exact import Exact
from taskbasis.basis.identity import Identity
from taskbasis.basis.pca import PCA
from taskbasis.basis.random_orthonormal import RandomOrthonormal
from taskbasis.basis.random_sample import RandomSample

__all__ = [
    "PCA",
    "Autoencoder",
    "Basis",
    "BasisMethod",
    "ChecksTasks",
    "Diagnostics",
    "Exact",
    "Identity",
    "NeedsSources",
    "RandomOrthonormal",
    "RandomSample",
    "Trained",
    "fit_all",
]
