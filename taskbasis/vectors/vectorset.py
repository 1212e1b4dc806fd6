"""VectorSet: named columns of weight space, read from files in chunks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from taskbasis.errors import VectorError
from taskbasis.parallel import default_workers
from taskbasis.store.bundle import read_bundle
from taskbasis.vectors.columns import Columns, Combined, Concatenated, Differences, Stored
from taskbasis.vectors.files import TensorFile
from taskbasis.vectors.gram import Gram
from taskbasis.vectors.inplace import LazyTensors, add_scaled_
from taskbasis.vectors.layout import ALL, Layout, Selection, common_layout
from taskbasis.vectors.noise import Noise
from taskbasis.vectors.passes import Pass, Progress
from taskbasis.vectors.products import stream_gram
from taskbasis.vectors.saving import file_paths, save_models, save_vectors

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Precision = Literal["float32", "float64"]
"""Of the arithmetic within a chunk; sums between chunks are always float64."""

BASIS_DESCRIPTION, BASIS_FORMAT = "basis.json", 1
"""Name and version of the description of a saved basis."""

ACTIVATION = "quick_gelu"
"""Metadata of converted image encoders; weights of one activation are useless with the other."""

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class VectorSet:
    """K named vectors in weight space that are never all in memory.

    Example:
        >>> tv = VectorSet.task_vectors("theta0.safetensors", {"MNIST": "a.safetensors"})  # doctest: +SKIP
        >>> gram = tv.gram()  # doctest: +SKIP
        >>> tv.combine(torch.ones(1)).save("merged")  # doctest: +SKIP
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
        select: str | re.Pattern[str] | None = None,
    ) -> VectorSet:
        """Task vectors τ_t = θ_t − θ₀ of safetensors checkpoints (Ilharco et al. 2023, eq. 1).

        Args:
            base: the pretrained weights θ₀: a safetensors file, an index of shards, or a folder with either.
            finetuned: the fine-tuned weights θ_t by task name, in order.
            select: only tensors whose name begins with this string, or in which this pattern is found; all
                floating-point tensors by default. Integer tensors never are part of vectors.

        Raises:
            VectorError: naming the file and tensor that is missing, unreadable or of another shape, or a
                model that says to have another activation than θ₀.
        """
        if not finetuned:
            raise VectorError("no fine-tuned checkpoints were given; at least one is needed")
        origin = TensorFile(base)
        files = {name: TensorFile(path) for name, path in finetuned.items()}
        for name, file in files.items():
            if (
                (found := file.metadata.get(ACTIVATION)) != (own := origin.metadata.get(ACTIVATION))
                and found
                and own
            ):
                raise VectorError(f"{file.path} ({name}) has {ACTIVATION}={found}, {origin.path} has {own}")
        layout = common_layout({"base": origin} | files, Selection(select))
        return cls(tuple(files), Differences(origin, tuple(files.values()), layout))

    @classmethod
    def stored(cls, files: Mapping[str, Path | str]) -> VectorSet:
        """Vectors that lie in safetensors files as they are, by name.

        Raises:
            VectorError: as :meth:`task_vectors`.
        """
        opened = {name: TensorFile(path) for name, path in files.items()}
        if not opened:
            raise VectorError("no vectors were given; at least one is needed")
        return cls(tuple(opened), Stored(tuple(opened.values()), common_layout(opened, ALL)))

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
    def noise(cls, layout: Layout, count: int, seed: int) -> VectorSet:
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
        return cls(names, Concatenated(tuple(s.columns for s in sets), tuple(map(len, sets))))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def layout(self) -> Layout:
        """Shapes by tensor name."""
        return self.columns.layout

    @property
    def numel(self) -> int:
        """D, the number of elements of one vector."""
        return sum(shape.numel() for shape in self.layout.values())

    def gram(
        self,
        *,
        known: Gram | None = None,
        precision: Precision = "float32",
        device: str = "cpu",
        threads: int | None = None,
        fabric: Fabric | None = None,
        progress: Progress | None = None,
    ) -> Gram:
        """The Gram matrix in one streaming pass: chunk products at ``precision``, summed in float64.

        Memory does not depend on D, and the result has the same bits for any number of threads and ranks.

        Args:
            known: the Gram matrix of some of these columns; only the other rows are computed.
            precision: of the differences and products within a chunk.
            device: ``cpu`` or a CUDA device such as ``cuda``.
            threads: how many threads read and multiply; all processors by default.
            fabric: shares the work between its ranks, which must all see the files; overrides ``device``.
            progress: called with the number of elements done and in all.

        Raises:
            VectorError: naming the file and tensor with a value that is not finite, or a name of ``known``
                that is not among the columns.
        """
        return stream_gram(
            self.columns,
            self.names,
            known,
            precision=_DTYPES[precision],
            device=str(fabric.device) if fabric else device,
            how=Pass(threads or default_workers(), progress),
            fabric=fabric,
        )

    def combine(self, coefficients: Tensor, names: Sequence[str] | None = None) -> VectorSet:
        """Linear combinations V·C, still lazy.

        Args:
            coefficients: shape (K,) for one vector, (K, N) for N of them.
            names: names of the results; ``combined`` or ``combined-0`` … by default.

        Raises:
            VectorError: if the number of rows is not K, that of names not N, or a coefficient not finite.
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
        chosen = tuple(default if names is None else names)
        if len(chosen) != matrix.shape[1]:
            raise VectorError(f"{len(chosen)} names {chosen} do not fit {matrix.shape[1]} combinations")
        return VectorSet(chosen, Combined(self.columns, matrix))

    def save(
        self,
        folder: Path | str,
        dtype: torch.dtype = torch.float32,
        *,
        max_shard_bytes: int | None = None,
        precision: Precision = "float32",
        threads: int | None = None,
        progress: Progress | None = None,
        sha256: dict[Path, str] | None = None,
    ) -> dict[str, Path]:
        """Stream every column to ``<folder>/<name>.safetensors`` in one pass; what to open each by.

        Memory depends neither on D nor on K. The bytes written are the same for any number of threads.

        Args:
            folder: where the files go; it is made.
            dtype: stored dtype: float32, float16, bfloat16 or float64.
            max_shard_bytes: larger vectors become several files with an index.
            precision: of the arithmetic before that.
            threads: how many threads read, combine and write; all processors by default.
            progress: called with the number of elements done and in all.
            sha256: takes up the hash of every file of tensors, made as it is written.

        Raises:
            VectorError: naming the tensor that is not finite or does not fit ``dtype``, or the file that
                cannot be written; no file is left then.
        """
        return save_vectors(
            self.columns,
            file_paths(Path(folder), self.names),
            Pass(threads or default_workers(), progress),
            precision=_DTYPES[precision],
            dtype=dtype,
            max_shard_bytes=max_shard_bytes,
            sha256=sha256,
        )

    def save_models(
        self,
        paths: Mapping[str, Path],
        theta0: Path | str,
        alpha: float = 1.0,
        *,
        dtype: torch.dtype | None = None,
        max_shard_bytes: int | None = None,
        precision: Precision | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Path]:
        """Stream the model θ₀ + α·v of every column v to its path in one pass; what to open each by.

        Tensors of θ₀ that the columns do not have, integers among them, are taken over as they are.

        Args:
            paths: the file to make for each column, by name.
            theta0: the pretrained weights.
            alpha: scaling coefficient.
            dtype: stored dtype of all floating-point tensors; each as in θ₀ by default.
            precision: of the arithmetic before that; float64 by default where θ₀ or ``dtype`` is.
            max_shard_bytes, threads, progress: see :meth:`save`.

        Raises:
            VectorError: as :meth:`save`, or if θ₀ lacks a tensor of the columns.
        """
        base = TensorFile(theta0)
        wide = torch.float64 in (dtype, *base.dtypes.values())
        for tensor, shape in self.layout.items():
            if base.layout.get(tensor) != shape:
                raise VectorError(f"{base.path} has no tensor {tensor!r} of shape {tuple(shape)}")
        if tuple(paths) != self.names:
            raise VectorError(f"paths are needed for {self.names}, not for {tuple(paths)}")
        return save_models(
            self.columns,
            paths,
            Pass(threads or default_workers(), progress),
            theta0=base,
            alpha=alpha,
            precision=_DTYPES[precision or ("float64" if wide else "float32")],
            dtype=dtype,
            max_shard_bytes=max_shard_bytes,
        )

    def tensors(self) -> dict[str, Tensor]:
        """The only column as float32 tensors by name, in memory.

        Raises:
            VectorError: if there is more than one column.
        """
        return dict(self._lazy)

    def apply_(self, module: nn.Module, theta0: Mapping[str, Tensor], alpha: float) -> None:
        """Set ``module`` to θ₀ + α·v in place, v being the only column; see :func:`add_scaled_`.

        One tensor at a time is in memory besides the module.
        """
        add_scaled_(module, theta0, self._lazy, alpha)

    @property
    def _lazy(self) -> LazyTensors:
        if len(self) != 1:
            raise VectorError(f"expected one vector, this set has {len(self)}: {self.names}")
        return LazyTensors(self.columns)
