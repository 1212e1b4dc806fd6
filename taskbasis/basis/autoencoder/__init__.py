"""The autoencoder basis of the paper, fitted on the Gram matrix alone."""

from taskbasis.basis.autoencoder.method import Autoencoder

__all__ = ["Autoencoder"]
