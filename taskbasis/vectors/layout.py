"""What a vector consists of: which tensors, their shapes, and how passes over them are cut into pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from taskbasis.errors import VectorError
from taskbasis.vectors.files import TensorFile

CHUNK = 1 << 20
"""Elements that one chunk holds over all its columns: 4 MiB in float32, which stays in cache."""

Layout = Mapping[str, torch.Size]
"""Shapes by tensor name; a vector is the concatenation of its flattened tensors in this order."""


@dataclass(frozen=True)
class Selection:
    """Which tensors form vectors: all, those with a prefix, or those that a regular expression finds."""

    rule: str | re.Pattern[str] | None = None

    @classmethod
    def parse(cls, text: str | None) -> Selection:
        """A prefix such as ``visual.``, or a regular expression between slashes such as ``/attn|mlp/``.

        Raises:
            VectorError: if the regular expression is not valid.
        """
        if text is None or len(text) < 2 or not (text.startswith("/") and text.endswith("/")):
            return cls(text)
        try:
            return cls(re.compile(text[1:-1]))
        except re.error as error:
            raise VectorError(f"select={text!r} is not a regular expression: {error}") from error

    def __call__(self, name: str) -> bool:
        """Whether the tensor ``name`` is selected."""
        if isinstance(self.rule, re.Pattern):
            return self.rule.search(name) is not None
        return self.rule is None or name.startswith(self.rule)

    def __str__(self) -> str:
        if isinstance(self.rule, re.Pattern):
            return f" whose name matches /{self.rule.pattern}/"
        return "" if self.rule is None else f" whose name begins with {self.rule!r}"


ALL = Selection()
"""Every tensor."""


@dataclass(frozen=True)
class Chunk:
    """Elements ``start:stop`` of one flattened tensor."""

    tensor: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


Block = Sequence[Chunk]
"""Chunks that one thread works on in a row."""


def cut(layout: Layout, columns: int) -> Iterator[Chunk]:
    """Chunks that cover a vector in order, small enough for ``columns`` of them to stay in cache.

    The cuts depend on nothing but the arguments, so that sums over them are the same on every machine.
    """
    most = max(CHUNK // max(columns, 1), 1)
    for name, shape in layout.items():
        for start in range(0, shape.numel(), most):
            yield Chunk(name, start, min(start + most, shape.numel()))


def common_layout(files: Mapping[str, TensorFile], select: Selection) -> dict[str, torch.Size]:
    """Shapes of the selected floating-point tensors, which must agree in all files.

    Raises:
        VectorError: naming the file and tensor that is missing or has another shape.
    """
    (first_name, first), *others = files.items()
    layout = {k: v for k, v in first.layout.items() if select(k)}
    if not layout:
        raise VectorError(
            f"{first.path} ({first_name}) has no floating-point tensor{select}; "
            f"it has {list(first.layout)[:5]} …"
        )
    for name, file in others:
        found = {k: v for k, v in file.layout.items() if select(k)}
        for tensor in sorted(layout.keys() ^ found.keys()):
            lacking, having = (file, first) if tensor in layout else (first, file)
            raise VectorError(f"{lacking.path} ({name}) lacks the tensor {tensor!r} that {having.path} has")
        for tensor, shape in layout.items():
            if found[tensor] != shape:
                raise VectorError(
                    f"{file.path} ({name}): {tensor!r} has shape {tuple(found[tensor])}, "
                    f"in {first.path} it is {tuple(shape)}"
                )
    return layout
