"""How the images of a dataset are cut into training, validation and test sets, and what is checked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from taskbasis.data.vision.catalog import Dataset, SourceSpec
from taskbasis.errors import DataError
from taskbasis.store import digest

VAL_SHARE, VAL_LIMIT, VAL_SEED = 0.1, 5000, 0
GUARD = 36044
"""First training image of MNIST under the rule, which the published code checks too."""


@dataclass(frozen=True)
class Part:
    """Images of one split: which part of the source they are from, and their places in it."""

    source: str
    indices: Tensor
    """int64 of shape (n,)."""


def cut(sizes: Mapping[str, int]) -> dict[str, Part]:
    """The splits of a dataset whose source has parts of these sizes.

    A source with validation images of its own keeps them. Otherwise min(10 %, 5000) of the training
    images become validation images; without training images (a control), 5000 of the test images do, at
    most a tenth, and are no longer test images.

    Raises:
        DataError: if PyTorch's generator gives other permutations than the published code had.
    """
    parts = {name: Part(name, torch.arange(size)) for name, size in sizes.items()}
    if "val" in parts:
        return parts
    if (first := int(_permutation(60000)[0])) != GUARD:
        raise DataError(
            f"this version of PyTorch permutes 60000 items beginning with {first}, not {GUARD}: validation "
            f"sets would not be those of published results"
        )
    whole = "train" if "train" in parts else "test"
    order = _permutation(sizes[whole])
    kept = sizes[whole] - min(int(sizes[whole] * VAL_SHARE), VAL_LIMIT)
    return parts | {whole: Part(whole, order[:kept]), "val": Part(whole, order[kept:])}


def check_sizes(dataset: Dataset, source: SourceSpec, splits: Mapping[str, Part]) -> None:
    """Compare the number of images with the published one.

    Raises:
        DataError: naming the split, what was found and what is expected.
    """
    expected = dataset.expected_sizes(source)
    found = {name: len(part.indices) for name, part in splits.items() if name in expected}
    wrong = [
        f"{name} has {found.get(name, 0)}, not {n}" for name, n in expected.items() if found.get(name) != n
    ]
    if wrong:
        raise DataError(
            f"{dataset.name} ({source.kind}): wrong number of images: {'; '.join(wrong)}. It is incomplete "
            f"or another split; suite.check_sizes=false accepts it, under a name of its own in results"
        )


def check_disjoint(dataset: Dataset, source: SourceSpec, hashes: Mapping[str, Tensor]) -> dict[str, int]:
    """Count evaluation images that are training images too, and validation images that are test images.

    Args:
        dataset: says how many twins its original has.
        source: for the message.
        hashes: content hashes by split, uint8 of shape (n, 16).

    Returns:
        The number of twins by pair of splits, such as ``test in train``.

    Raises:
        DataError: naming the pair of splits, if there are more than the dataset has by itself.
    """
    keys = {name: _keys(values) for name, values in hashes.items()}
    found = {}
    for evaluated, other in (("val", "train"), ("test", "train"), ("val", "test")):
        if evaluated not in keys or other not in keys:
            continue
        count, total = int(np.isin(keys[evaluated], keys[other]).sum()), len(keys[evaluated])
        found[f"{evaluated} in {other}"] = count
        if count > dataset.allowed_twins * total:
            raise DataError(
                f"{dataset.name} ({source.kind}): {count} of {total} {evaluated} images are {other} images "
                f"too: accuracies would mean nothing. The folders were mixed up: "
                f"prepare {dataset.name} anew"
            )
    return found


def identity(hashes: Tensor, labels: Tensor) -> str:
    """Hash of pictures and labels in their order.

    Args:
        hashes: uint8 of shape (n, 16).
        labels: int64 of shape (n,).
    """
    return digest({"images": hashes.numpy().tobytes().hex(), "labels": labels.tolist()})


def _permutation(size: int) -> Tensor:
    """As ``torch.utils.data.random_split`` draws it."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(VAL_SEED))


def _keys(hashes: Tensor) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The first eight bytes of every hash."""
    first: np.ndarray[tuple[int], np.dtype[np.uint64]] = (
        hashes[:, :8].contiguous().numpy().view(np.uint64)[:, 0]
    )
    return first
