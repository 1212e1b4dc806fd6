"""open_clip's byte-pair tokenizer, cut down to the word pieces a small model knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from open_clip.tokenizer import SimpleTokenizer

PAD, UNKNOWN = 0, 1
_RESERVED = 2


class TinyTokenizer:
    """Maps text to compact ids: 0 pads, 1 stands for any word piece outside the vocabulary.

    ``pieces`` are the ids of open_clip's ``SimpleTokenizer`` that are kept. They are numbered in increasing
    order, so the end-of-text piece stays the largest id, which is where open_clip's text tower pools.
    """

    def __init__(self, pieces: Iterable[int], context_length: int) -> None:
        self._words = SimpleTokenizer()
        start, end = self._words.all_special_ids
        self.pieces: tuple[int, ...] = tuple(sorted({*pieces, start, end}))
        self.context_length = context_length
        self._compact = {piece: rank + _RESERVED for rank, piece in enumerate(self.pieces)}
        self._start, self._end = self._compact[start], self._compact[end]

    @classmethod
    def covering(cls, texts: Iterable[str], context_length: int) -> TinyTokenizer:
        """A tokenizer that knows every word piece of the texts."""
        words = SimpleTokenizer()
        return cls({piece for text in texts for piece in words.encode(text)}, context_length)

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding and unknown included."""
        return len(self.pieces) + _RESERVED

    def encode(self, text: str) -> list[int]:
        """Compact ids of a text, without start, end and padding."""
        return [self._compact.get(piece, UNKNOWN) for piece in self._words.encode(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of compact ids; padding and the start and end marks are left out."""
        marks = {PAD, self._start, self._end}
        kept = [i for i in ids if i not in marks]
        return " ".join(self._piece(i).strip() for i in kept)

    def _piece(self, compact: int) -> str:
        return (
            "<unknown>" if compact == UNKNOWN else str(self._words.decode([self.pieces[compact - _RESERVED]]))
        )

    def __call__(self, texts: str | list[str]) -> torch.Tensor:
        """Ids of one or more texts, int64 (N, context_length), cut to fit and padded with zeros."""
        texts = [texts] if isinstance(texts, str) else texts
        ids = torch.full((len(texts), self.context_length), PAD, dtype=torch.long)
        for row, text in enumerate(texts):
            marked = [self._start, *self.encode(text)[: self.context_length - 2], self._end]
            ids[row, : len(marked)] = torch.tensor(marked)
        return ids
