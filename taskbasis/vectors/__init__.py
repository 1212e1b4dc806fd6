"""Weight space: checkpoints as lazy columns, their Gram matrix, and linear combinations of them.

Weight space is touched twice: one pass streams the Gram matrix, one pass writes what is wanted.
Everything in between lives on T×T matrices.
"""

from taskbasis.vectors.gram import Gram
from taskbasis.vectors.vectorset import VectorSet

__all__ = ["Gram", "VectorSet"]
