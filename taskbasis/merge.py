"""``python -m taskbasis.merge``: one merged model, from a basis or from checkpoints, streamed to disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from taskbasis.command import heavy_imports, progress_bars, run_hydra
from taskbasis.config import checked
from taskbasis.errors import ConfigError

if TYPE_CHECKING:
    from taskbasis.ingredients import Ingredients

ENTRY = "merge"
KEYS = ("from", "base", "finetuned", "out", "merge", "coefficients", "alpha", "select", "dtype", "shard")
"""Everything that can be said to ``python -m taskbasis.merge``; see ``--help``."""
DTYPES = ("float32", "float16", "bfloat16", "float64")


def main() -> None:
    """Run the command."""
    run_hydra(ENTRY, run)


def run(config: DictConfig) -> Path:
    """Carry out a composed configuration; the file (or index) that was written.

    Raises:
        TaskbasisError: naming the key, file or tensor at fault; nothing is written then.
    """
    with heavy_imports():
        import torch
        from rich.console import Console

        from taskbasis.checkpoints import copy_companions, weights_path

    config = checked(config, KEYS)
    alpha, dtype, shard = _number("alpha", config.alpha), _dtype(config.dtype), _bytes(config.shard)
    ingredients = _ingredients(config)
    weights = _weights(config, ingredients)
    vector = ingredients.merged(weights)
    out = Path(str(config.out))
    path = weights_path(out, ingredients.files)
    console = Console()
    with progress_bars(console, "merging") as (report,):
        (written,) = vector.save_models(
            {vector.names[0]: path},
            ingredients.base,
            alpha,
            dtype=None if dtype is None else getattr(torch, dtype),
            max_shard_bytes=shard,
            progress=report,
        ).values()
    copy_companions(ingredients.base, out)
    norm = ingredients.norm(weights)
    console.print(
        f"θ₀ + {alpha:g}·v from {len(weights)} {ingredients.kind}"
        + ("" if norm is None else f", |v| = {norm:.4g}")
        + f": {written}"
    )
    return written


def _ingredients(config: DictConfig) -> Ingredients:
    from taskbasis.checkpoints import named_checkpoints
    from taskbasis.ingredients import from_basis, from_checkpoints

    if (config["from"] is None) == (config.finetuned is None):
        raise ConfigError("give either from=DIR, a basis, or finetuned=…, checkpoints")
    base = None if config.base is None else Path(str(config.base))
    if config["from"] is not None:
        if config.select is not None:
            raise ConfigError("select: a basis has its own selection of tensors; leave it out with from=DIR")
        inputs = _inputs_of(config)
        return from_basis(Path(str(config["from"])), base, inputs)
    if base is None:
        raise ConfigError("base: the pretrained weights are needed beside finetuned")
    if config.merge.inputs == "reconstructed":
        raise ConfigError("merge.inputs=reconstructed goes with a basis, from=DIR")
    finetuned = named_checkpoints(config.finetuned, exclude=base)
    return from_checkpoints(base, finetuned, config.select)


def _inputs_of(config: DictConfig) -> str | tuple[str, ...]:
    """What is merged from a basis, or the names that say so."""
    if config.coefficients is None:
        return str(config.merge.inputs)
    return tuple(_mapping(config.coefficients))


def _weights(config: DictConfig, ingredients: Ingredients) -> dict[str, float]:
    """The weight of each input that is merged, by name."""
    from taskbasis.targets import build

    if config.coefficients is not None:
        given = {
            name: _number(f"coefficients.{name}", v) for name, v in _mapping(config.coefficients).items()
        }
        if unknown := [name for name in given if name not in ingredients.names]:
            raise ConfigError(f"coefficients: unknown {unknown}; accepted: {', '.join(ingredients.names)}")
        return given
    method = build("merge", config.merge)
    values = method.weights(len(ingredients.names)).tolist()
    return dict(zip(ingredients.names, values, strict=True))


def _mapping(value: Any) -> Mapping[str, Any]:
    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    if not isinstance(plain, Mapping) or not plain:
        raise ConfigError(
            f"coefficients={plain!r}: accepted is a mapping such as '{{task_a: 1, task_b: -0.5}}'"
        )
    return {str(name): number for name, number in plain.items()}


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise ConfigError(f"{key}={value!r}: accepted is a finite number")
    return float(value)


def _dtype(value: Any) -> str | None:
    if value is not None and value not in DTYPES:
        raise ConfigError(f"dtype={value!r}: accepted are null, {', '.join(DTYPES)}")
    return None if value is None else str(value)


def _bytes(value: Any) -> int | None:
    """A number of bytes, such as ``5GB`` (decimal units)."""
    if value is None:
        return None
    text = str(value).strip().upper().removesuffix("B")
    units = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    scale = units.get(text[-1:], 1)
    digits = text[:-1] if scale > 1 else text
    try:
        size = int(float(digits) * scale)
    except (ValueError, OverflowError):
        size = 0
    if size < 1:
        raise ConfigError(f"shard={value!r}: accepted is a number of bytes such as 500MB or 5GB")
    return size


if __name__ == "__main__":
    main()
