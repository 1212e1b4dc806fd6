"""Merged weights in a live module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from taskbasis.errors import VectorError
from taskbasis.vectors.columns import Columns


class LazyTensors(Mapping[str, Tensor]):
    """A single column as float32 tensors by name, each read when it is asked for."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def __getitem__(self, name: str) -> Tensor:
        shape = self._columns.layout[name]
        out = torch.empty(1, shape.numel())
        self._columns.read(name, 0, out)
        return out.reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.layout)

    def __len__(self) -> int:
        return len(self._columns.layout)


@torch.no_grad()
def add_scaled_(
    module: nn.Module, theta0: Mapping[str, Tensor], vector: Mapping[str, Tensor], alpha: float
) -> None:
    """Set the parameters of ``module`` to θ₀ + α·v in place.

    Always from θ₀ and in two roundings (multiply, then add), never by increments, so that a result
    does not depend on the α tried before it. Parameters that v does not name are set to θ₀.

    Raises:
        VectorError: if v names a tensor that the module or θ₀ does not have, or θ₀ shares memory with the
            module, as its own state dict does.
    """
    state = dict(module.state_dict(keep_vars=True))
    if unknown := sorted(vector.keys() - state.keys()):
        raise VectorError(
            f"the model has no tensor {unknown[0]!r} ({len(unknown)} such); it has {sorted(state)}"
        )
    if absent := sorted(vector.keys() - theta0.keys()):
        raise VectorError(f"θ₀ has no tensor {absent[0]!r} ({len(absent)} such); it has {sorted(theta0)}")
    for name, parameter in state.items():
        if name not in theta0:
            continue
        origin = theta0[name]
        if origin.numel() and origin.data_ptr() == parameter.data_ptr():
            raise VectorError(f"θ₀'s {name!r} is the model's own and would change with it; give a copy")
        if name in vector:
            parameter.copy_(vector[name]).mul_(alpha).add_(origin)
        else:
            parameter.copy_(origin)
