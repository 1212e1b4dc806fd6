"""Checkpoints as users name them: a mapping, a folder or a list, and what a basis records of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from taskbasis.basis.storage import strangers
from taskbasis.errors import ConfigError
from taskbasis.store.atomic import write_bytes
from taskbasis.store.hashing import ALGORITHMS, Algorithm, digest, hash_files
from taskbasis.vectors import VectorSet
from taskbasis.vectors.files import INDEX_SUFFIX, TensorFile, find_weights
from taskbasis.vectors.vectorset import BASIS_DESCRIPTION
from taskbasis.vectors.writer import SUFFIX, forms

COMPANIONS = (".json", ".txt", ".model", ".jinja")
"""Endings of the small files that make weights a model folder."""

_SHARD = re.compile(r".*-\d{5}-of-\d{5}\.safetensors")
_ANONYMOUS = ("model", "pytorch_model", "finetuned", "encoder", "checkpoint", "weights", "adapter_model")
"""File names that say nothing about the task: the folder's name does."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The checkpoints that a basis is made of, and how they are read."""

    base: Path
    """Pretrained weights θ₀."""
    finetuned: Mapping[str, Path]
    """Fine-tuned weights θ_t by task name, in order."""
    select: str | None = None
    """A prefix of tensor names, or a regular expression between slashes."""
    precision: Literal["float32", "float64"] = "float32"
    device: str = "cpu"
    threads: int | None = None
    hash: Algorithm | None = "xxh3_128"
    """What the basis records of every checkpoint's content."""


def named_checkpoints(given: Any, exclude: Path | None = None) -> dict[str, Path]:
    """Paths by task name.

    Args:
        given: a mapping from names to paths, a list of paths, a YAML file with either (whose paths count
            from its folder), or a folder whose files and subfolders are checkpoints.
        exclude: a checkpoint to leave out of a folder, such as θ₀.

    Raises:
        ConfigError: if it is none of these, empty, or two checkpoints get the same name.
    """
    if isinstance(given, Mapping):
        found = {str(name): _path(path) for name, path in given.items()}
    elif isinstance(given, Sequence) and not isinstance(given, str):
        found = _by_name([_path(path) for path in given])
    elif (path := _path(given)).is_dir():
        found = _by_name(_children(path, exclude))
    elif path.suffix in (".yaml", ".yml"):
        found = {name: path.parent / p for name, p in named_checkpoints(_read_yaml(path)).items()}
    else:
        raise ConfigError(
            f"finetuned={str(given)!r}: accepted are a mapping, a list, a folder or a YAML file"
        )
    if not found:
        raise ConfigError(f"finetuned={given!s}: no checkpoint is there")
    return found


def describe_inputs(inputs: Inputs, vectors: VectorSet, out: Path) -> dict[str, Any]:
    """What a basis records of its checkpoints: relative place, size, content hash, and the tensors' names.

    Raises:
        StoreError: if a file cannot be read.
    """
    checkpoints = [inputs.base, *inputs.finetuned.values()]
    files = [TensorFile(path).files for path in checkpoints]
    flat = [path for paths in files for path in paths]
    hashes = hash_files(flat, inputs.hash, threads=inputs.threads) if inputs.hash else {}
    base, *finetuned = (
        {
            "path": relative_place(checkpoint, out),
            "bytes": sum(path.stat().st_size for path in paths),
            **({inputs.hash: [hashes[path] for path in paths]} if inputs.hash else {}),
        }
        for checkpoint, paths in zip(checkpoints, files, strict=True)
    )
    layout = [[name, list(shape)] for name, shape in vectors.layout.items()]
    return {
        "base": base,
        "finetuned": dict(zip(inputs.finetuned, finetuned, strict=True)),
        "select": inputs.select,
        "tensors": len(layout),
        "layout": digest(layout),
    }


def content_hashes(entry: Mapping[str, Any]) -> tuple[Algorithm, list[str]] | None:
    """Algorithm and values by which :func:`describe_inputs` knows a checkpoint's files, if it does."""
    found = [(name, list(entry[name])) for name in ALGORITHMS if entry.get(name)]
    return found[0] if found else None


def refuse_to_replace(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse a place for a basis where something else would be lost.

    Raises:
        ConfigError: if ``out`` is a file, a folder that holds something else than a basis, or holds one
            of the inputs.
    """
    if out.exists() and not (out / BASIS_DESCRIPTION).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"out={out} exists and is not a basis; choose another folder")
    for path in inputs:
        if out.resolve() in path.resolve().parents:
            raise ConfigError(f"out={out} holds the input {path}, which would be lost; choose another folder")
    if strange := strangers(out):
        raise ConfigError(f"out={out} holds {strange[0]}, which would be lost; choose another folder")


def weights_path(out: Path, inputs: Sequence[Path]) -> Path:
    """The safetensors file that ``out`` stands for: itself, or ``model.safetensors`` in a folder.

    Raises:
        ConfigError: if that, a shard of it or its index is one of the inputs.
    """
    path = out if out.suffix == SUFFIX else out / f"model{SUFFIX}"
    replaced = forms(path)
    for file in inputs:
        if file.resolve().parent == path.resolve().parent and replaced.fullmatch(file.resolve().name):
            raise ConfigError(f"out={out}: {file} is one of the inputs; choose another place")
    return path


def copy_companions(base: Path, out: Path) -> None:
    """Copy the configuration and the tokenizer of a model folder beside the merged weights.

    Only if both are folders, and never over a file that is there.
    """
    if not base.is_dir() or out.suffix == SUFFIX:
        return
    for file in sorted(base.iterdir()):
        wanted = file.suffix in COMPANIONS and not file.name.endswith(INDEX_SUFFIX)
        if wanted and file.is_file() and not (out / file.name).exists():
            write_bytes(out / file.name, file.read_bytes())


def relative_place(path: Path, folder: Path) -> str | None:
    """``path`` from ``folder``, or None where that would spell out the home folder of someone."""
    path, folder, home = path.absolute(), folder.absolute(), Path.home()
    common = Path(os.path.commonpath([path, folder]))
    if common in home.parents and home in path.parents:
        return None
    return os.path.relpath(path, folder)


def _path(given: Any) -> Path:
    if not isinstance(given, str | Path) or not str(given):
        raise ConfigError(f"finetuned: {given!r} is not a path")
    return Path(given).expanduser()


def _children(folder: Path, exclude: Path | None) -> list[Path]:
    """Checkpoints directly in a folder: whole files, indices of shards, and folders with weights."""
    found = []
    for child in sorted(folder.iterdir()):
        whole = child.suffix == ".safetensors" and not _SHARD.fullmatch(child.name)
        whole |= child.name.endswith(INDEX_SUFFIX)
        nested = child.is_dir() and any(child.glob("*.safetensors"))
        if (whole or nested) and not (exclude and find_weights(child).samefile(find_weights(exclude))):
            found.append(child)
    return found


def _by_name(paths: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        stem = path.name.removesuffix(".index.json").removesuffix(".safetensors")
        name = path.absolute().parent.name if stem in _ANONYMOUS else stem
        if name in found:
            raise ConfigError(f"finetuned: {found[name]} and {path} would both be called {name!r}; name them")
        found[name] = path
    return found


def _read_yaml(path: Path) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:
        # The YAML library's own exceptions are as many as its parts.
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
