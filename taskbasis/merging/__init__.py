"""How columns become one vector: atoms, reconstructed task vectors or the task vectors themselves."""

from taskbasis.merging.linear import INPUTS, MergeMethod, Sum, input_coefficients

__all__ = ["INPUTS", "MergeMethod", "Sum", "input_coefficients"]
