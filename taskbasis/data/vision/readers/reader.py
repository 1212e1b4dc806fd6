"""What readers have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from taskbasis.data.vision.catalog import Dataset, spelling
from taskbasis.data.vision.images import Images
from taskbasis.errors import DataError


class Reader(Protocol):
    """Reads one dataset from one kind of source."""

    @property
    def place(self) -> Path:
        """The folder that its files lie in."""

    def missing(self) -> str | None:
        """What is not there, or None if the source seems to be there."""

    def parts(self) -> Mapping[str, Images]:
        """The images of the parts ``train`` and ``test``, and ``val`` where the source has one.

        Raises:
            DataError: naming what is incomplete, or which classes are not those of the dataset.
        """

    def provenance(self) -> dict[str, str]:
        """What is known of where the files came from, such as a revision."""

    def download(self) -> None:
        """Fetch the files; what is there already is kept.

        Raises:
            DataError: if the source cannot be fetched, saying what to do instead.
        """


def labels_by_name(dataset: Dataset, names: Sequence[str], origin: str) -> dict[str, int]:
    """The label of each class as a source calls it, whatever the order in which the source has them.

    Raises:
        DataError: naming the classes that the dataset does not have, or that the source lacks.
    """
    known: dict[str, int] = {}
    for label, spellings in enumerate(dataset.spellings):
        for name in spellings:
            known.setdefault(name, label)
    # What files call the classes is unique; names for prompts sometimes are not.
    known |= {spelling(name): label for label, name in enumerate(dataset.labels)}
    found = {name: known[spelling(name)] for name in names if spelling(name) in known}
    unknown = [name for name in names if name not in found]
    absent = [dataset.labels[i] for i in range(len(dataset.labels)) if i not in found.values()]
    if unknown or absent or len(found) != len(dataset.labels):
        raise DataError(
            f"{dataset.name}: the classes of {origin} are not those of the dataset"
            + (f"; unknown: {_some(unknown)}" if unknown else "")
            + (f"; lacking: {_some(absent)}" if absent else "")
        )
    return found


def check_count(dataset: Dataset, names: Sequence[str], origin: str) -> None:
    """Compare the number of classes.

    Raises:
        DataError: if it is not that of the dataset.
    """
    if len(names) != len(dataset.labels):
        raise DataError(f"{dataset.name}: {origin} has {len(names)} classes, not {len(dataset.labels)}")


def check_order(dataset: Dataset, names: Sequence[str], origin: str) -> None:
    """Compare the class names of a source that numbers its classes itself.

    Raises:
        DataError: naming the first class that is not where it should be.
    """
    check_count(dataset, names, origin)
    for label, name in enumerate(names):
        if spelling(name) not in dataset.spellings[label]:
            raise DataError(
                f"{dataset.name}: {origin} calls class {label} {name!r}, which should be "
                f"{dataset.labels[label]!r}: its labels mean other classes than the prompts do"
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
