"""VectorSet: named columns of weight space, read from files in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from taskbasis.errors import VectorError
from taskbasis.store.bundle import read_bundle
from taskbasis.vectors.columns import Columns, Combined, Concatenated, Differences, Stored, common_layout
from taskbasis.vectors.files import TensorFile, TensorWriter
from taskbasis.vectors.gram import Gram, accumulate
from taskbasis.vectors.noise import Noise

BASIS_DESCRIPTION, BASIS_FORMAT = "basis.json", 1
"""Name and version of the description of a saved basis."""
CHUNK = 1 << 18
"""Elements of each column that are in memory at once."""


@dataclass(frozen=True)
class VectorSet:
    """K named vectors in weight space that are never all in memory.

    Example:
        >>> tv = VectorSet.task_vectors("theta0.safetensors", {"MNIST": "a.safetensors"})  # doctest: +SKIP
        >>> gram = tv.gram()  # doctest: +SKIP
    """

    names: tuple[str, ...]
    """Names of the K columns, in order."""
    columns: Columns

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise VectorError(f"columns need distinct names, at least one; got {list(self.names)}")

    @classmethod
    def task_vectors(
        cls,
        base: Path | str,
        finetuned: Mapping[str, Path | str],
        *,
        select: str | None = None,
    ) -> VectorSet:
        """Task vectors τ_t = θ_t − θ₀ of safetensors checkpoints (Ilharco et al. 2023, eq. 1).

        Args:
            base: file of the pretrained weights θ₀.
            finetuned: files of the fine-tuned weights θ_t by task name, in order.
            select: only tensors whose name begins with this; all floating-point tensors by default.

        Raises:
            VectorError: naming the file and tensor that is missing, unreadable or of another shape.
        """
        if not finetuned:
            raise VectorError("no fine-tuned checkpoints were given; at least one is needed")
        origin = TensorFile(base)
        files = {name: TensorFile(path) for name, path in finetuned.items()}
        layout = common_layout({"base": origin} | files, select)
        return cls(tuple(files), Differences(origin, tuple(files.values()), layout))

    @classmethod
    def stored(cls, files: Mapping[str, Path | str]) -> VectorSet:
        """Vectors that lie in safetensors files as they are, by name.

        Raises:
            VectorError: as :meth:`task_vectors`.
        """
        opened = {name: TensorFile(path) for name, path in files.items()}
        return cls(tuple(opened), Stored(tuple(opened.values()), common_layout(opened, None)))

    @classmethod
    def atoms(cls, folder: Path | str) -> VectorSet:
        """The atoms of a saved basis, and the vector of its offset last where there is one.

        Raises:
            StoreError: naming the file that is missing or altered.
            VectorError: if the folder holds matrices alone.
        """
        folder = Path(folder)
        files = sorted(read_bundle(folder, BASIS_DESCRIPTION, BASIS_FORMAT)["files"])
        names = [Path(file).stem for file in files if file != "matrices.safetensors"]
        if not names:
            raise VectorError(f"{folder} holds the matrices of a basis alone, no atoms")
        return cls.stored({name: folder / f"{name}.safetensors" for name in names})

    @classmethod
    def noise(cls, layout: Mapping[str, torch.Size], count: int, seed: int) -> VectorSet:
        """``count`` columns of seeded standard normal noise, ``noise-<seed>-0`` …; nothing is stored.

        A smaller count gives a prefix of the same columns; see :mod:`taskbasis.vectors.noise`.

        Raises:
            VectorError: for a count below 1 or a negative seed.
        """
        if count < 1 or seed < 0:
            raise VectorError(f"noise: count={count}, seed={seed}; need count ≥ 1 and seed ≥ 0")
        return cls(tuple(f"noise-{seed}-{i}" for i in range(count)), Noise(seed, count, layout))

    @classmethod
    def concat(cls, *sets: VectorSet) -> VectorSet:
        """The columns of several sets side by side.

        Raises:
            VectorError: if layouts differ or a name is used twice.
        """
        first = sets[0]
        for other in sets[1:]:
            if dict(other.layout) != dict(first.layout):
                different = sorted(set(first.layout.items()) ^ set(other.layout.items()), key=str)
                raise VectorError(f"sets to join differ in the tensor {different[0][0]!r}")
        names = tuple(name for s in sets for name in s.names)
        return cls(names, Concatenated(tuple(s.columns for s in sets)))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def layout(self) -> Mapping[str, torch.Size]:
        """Shapes by tensor name."""
        return self.columns.layout

    @property
    def numel(self) -> int:
        """D, the number of elements of one vector."""
        return sum(shape.numel() for shape in self.layout.values())

    def chunks(self) -> Iterator[tuple[str, Tensor]]:
        """Tensor name and float32 chunk of shape (K, n ≤ CHUNK), covering all vectors in order."""
        for name, shape in self.layout.items():
            for start in range(0, shape.numel(), CHUNK):
                yield name, self.columns.read(name, start, min(start + CHUNK, shape.numel()))

    def gram(self) -> Gram:
        """Stream the Gram matrix in one pass: float32 chunk products accumulated in float64.

        Raises:
            VectorError: naming the column and tensor with a value that is not finite.
        """
        matrix = accumulate((chunk for _, chunk in self.chunks()), len(self))
        if not torch.isfinite(matrix).all():
            self._name_non_finite()
        return Gram(matrix, self.names)

    def combine(self, coefficients: Tensor, names: Sequence[str] | None = None) -> VectorSet:
        """Linear combinations V·C, still lazy.

        Args:
            coefficients: shape (K,) for one vector, (K, N) for N of them.
            names: names of the results; ``combined`` or ``combined-0`` … by default.

        Raises:
            VectorError: if the number of rows is not K or a coefficient is not finite.
        """
        matrix = coefficients.double()
        single = matrix.ndim == 1
        matrix = matrix[:, None] if single else matrix
        if matrix.ndim != 2 or matrix.shape[0] != len(self):
            raise VectorError(
                f"coefficients of shape {tuple(coefficients.shape)} do not fit "
                f"{len(self)} columns {self.names}"
            )
        if not torch.isfinite(matrix).all():
            raise VectorError("coefficients are not finite")
        default = ["combined"] if single else [f"combined-{i}" for i in range(matrix.shape[1])]
        return VectorSet(tuple(names or default), Combined(self.columns, matrix))

    def save(self, folder: Path | str, dtype: torch.dtype = torch.float32) -> dict[str, Path]:
        """Stream every column to ``<folder>/<name>.safetensors`` in one pass; the paths by name."""
        paths = {name: Path(folder) / f"{name}.safetensors" for name in self.names}
        with ExitStack() as stack:
            writers = [stack.enter_context(TensorWriter(p, self.layout, dtype)) for p in paths.values()]
            for _, chunk in self.chunks():
                for writer, row in zip(writers, chunk, strict=True):
                    writer.write(row)
        return paths

    def tensors(self) -> dict[str, Tensor]:
        """The only column as float32 tensors by name, in memory.

        Raises:
            VectorError: if there is more than one column.
        """
        if len(self) != 1:
            raise VectorError(f"expected one vector, this set has {len(self)}: {self.names}")
        return {
            name: self.columns.read(name, 0, shape.numel())[0].reshape(shape)
            for name, shape in self.layout.items()
        }

    def apply_(self, module: nn.Module, theta0: Mapping[str, Tensor], alpha: float) -> None:
        """Set ``module`` to θ₀ + α·v in place, v being the only column; see :func:`add_scaled_`."""
        add_scaled_(module, theta0, self.tensors(), alpha)

    def _name_non_finite(self) -> None:
        for tensor, chunk in self.chunks():
            for name, row in zip(self.names, chunk, strict=True):
                if not torch.isfinite(row).all():
                    raise VectorError(f"{name!r} has a value that is not finite in the tensor {tensor!r}")


@torch.no_grad()
def add_scaled_(
    module: nn.Module, theta0: Mapping[str, Tensor], vector: Mapping[str, Tensor], alpha: float
) -> None:
    """Set the parameters of ``module`` to θ₀ + α·v in place.

    Always from θ₀ and in two roundings (multiply, then add), never by increments, so that a result
    does not depend on the α tried before it. Parameters that v does not name are set to θ₀.

    Raises:
        VectorError: if v names a tensor that the module does not have.
    """
    state = dict(module.state_dict(keep_vars=True))
    if unknown := sorted(vector.keys() - state.keys()):
        raise VectorError(
            f"the model has no tensor {unknown[0]!r} ({len(unknown)} such); it has {sorted(state)}"
        )
    for name, parameter in state.items():
        if name not in theta0:
            continue
        if name in vector:
            parameter.copy_(vector[name]).mul_(alpha).add_(theta0[name])
        else:
            parameter.copy_(theta0[name])
