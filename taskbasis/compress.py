"""``python -m taskbasis.compress``: a basis of checkpoints that lie in files, without any suite."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from taskbasis.command import heavy_imports, progress_bars, run_hydra
from taskbasis.config import checked, register_schema, resolve_M
from taskbasis.errors import ConfigError

if TYPE_CHECKING:
    from taskbasis.basis import Basis, BasisMethod
    from taskbasis.checkpoints import Inputs
    from taskbasis.vectors.passes import Progress

ENTRY = "compress"


@dataclass
class CompressConfig:
    """Everything that can be said to ``python -m taskbasis.compress``; see ``--help``."""

    base: str
    finetuned: Any
    out: str
    basis: Any = None
    select: str | None = None
    M: Any = None
    seed: int = 0
    dtype: str = "float32"
    precision: str = "float32"
    device: str = "cpu"
    threads: int | None = None
    hash: str | None = "xxh3_128"


def main() -> None:
    """Run the command."""
    register_schema("compress_schema", CompressConfig)
    run_hydra(ENTRY, run)


def run(config: DictConfig) -> Basis:
    """Carry out a composed configuration, with a table of the result on the console.

    Raises:
        TaskbasisError: naming the key, file or tensor at fault; no basis is written then.
    """
    with heavy_imports():
        from rich.console import Console

        from taskbasis.checkpoints import Inputs, named_checkpoints, refuse_to_replace
        from taskbasis.show import basis_table
        from taskbasis.store.hashing import ALGORITHMS
        from taskbasis.targets import build

    config = checked(config, CompressConfig)
    if config.precision not in ("float32", "float64"):
        raise ConfigError(f"precision={config.precision!r}: accepted are float32, float64")
    if config.threads is not None and config.threads < 1:
        raise ConfigError(f"threads={config.threads}: accepted are 1 and more, or null for all processors")
    if config.hash not in (None, *ALGORITHMS):
        raise ConfigError(f"hash={config.hash!r}: accepted are {', '.join(ALGORITHMS)}, null")
    base = Path(config.base)
    finetuned = named_checkpoints(config.finetuned, exclude=base)
    refuse_to_replace(Path(config.out), [base, *finetuned.values()])
    if "M" in config.basis:
        config.M = resolve_M(config.M, len(finetuned))
    method = build("basis", config.basis)
    inputs = Inputs(
        base=base,
        finetuned=finetuned,
        select=config.select,
        precision=config.precision,
        device=config.device,
        threads=config.threads,
        hash=config.hash,
    )
    console = Console()
    with progress_bars(console, "Gram matrix", "atoms") as (reading, writing):
        basis = compress(inputs, method, Path(config.out), config.dtype, reading=reading, writing=writing)
    console.print(basis_table(basis))
    console.print(f"basis: {config.out}")
    return basis


def compress(
    inputs: Inputs,
    method: BasisMethod,
    out: Path,
    dtype: str = "float32",
    *,
    reading: Progress | None = None,
    writing: Progress | None = None,
) -> Basis:
    """Stream the Gram matrix, fit a basis, stream its atoms to ``out``: two passes over the checkpoints.

    The folder also records the Gram matrix and what the checkpoints were.

    Args:
        inputs: the checkpoints.
        method: fits the basis.
        out: the folder to write; a basis that is there is replaced.
        dtype: stored dtype of the atoms.
        reading: progress of the pass for the Gram matrix.
        writing: progress of the pass that writes the atoms.

    Raises:
        TaskbasisError: naming the file, tensor or setting at fault; nothing is written then.
    """
    from taskbasis.basis import ChecksTasks, NeedsSources
    from taskbasis.basis.storage import check_dtype
    from taskbasis.checkpoints import describe_inputs
    from taskbasis.vectors import VectorSet
    from taskbasis.vectors.layout import Selection
    from taskbasis.vectors.passes import single_threaded

    check_dtype(dtype)
    if isinstance(method, ChecksTasks):
        method.check(len(inputs.finetuned))
    select = Selection.parse(inputs.select)
    vectors = VectorSet.task_vectors(inputs.base, inputs.finetuned, select=select.rule)
    sources = method.sources(vectors) if isinstance(method, NeedsSources) else vectors
    with ThreadPoolExecutor(1) as beside:
        # Needed last, hashes fill whatever both passes and the fit leave of the processors.
        described = beside.submit(describe_inputs, inputs, vectors, out)
        gram = sources.gram(
            precision=inputs.precision, device=inputs.device, threads=inputs.threads, progress=reading
        )
        with single_threaded():
            basis = method.fit(gram)

        def facts() -> dict[str, Any]:
            return {"inputs": described.result(), "gram": gram.matrix.tolist()}

        basis.save(out, sources, dtype=dtype, threads=inputs.threads, facts=facts, progress=writing)
    return basis


if __name__ == "__main__":
    main()
