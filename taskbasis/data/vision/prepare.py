"""Fetch, check and decode the datasets of the vision suite, each once; what is done already is kept."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from taskbasis.data.vision.catalog import CONTROL
from taskbasis.data.vision.suite import VisionSuite
from taskbasis.errors import DataError
from taskbasis.store import Store

_log = logging.getLogger(__name__)
SPLITS = ("val", "test")
_GB = 1e9
_UNPACKED = 2.0
"""Archives, or parquet files and the tables made of them, lie beside what is unpacked from them."""

Report = Callable[[str, str], None]
"""Receives the name of a dataset and what begins to happen to it."""


@dataclass(frozen=True)
class Need:
    """What has to be done for a dataset, and what it takes on the disk."""

    name: str
    fetched: bool
    """Whether its files are there."""
    decoded: bool
    """Whether its evaluation pixels are."""
    download_gb: float
    pixels_gb: float

    @classmethod
    def estimated(cls, suite: VisionSuite, name: str, *, fetched: bool, decoded: bool = False) -> Need:
        """What a dataset takes, by its published sizes."""
        described, side = suite.dataset(name), suite.fitted_to.image_size
        images = sum(described.sizes.get(split, 0) for split in SPLITS)
        return cls(name, fetched, decoded, described.download_gb, images * 3 * side * side / _GB)

    @property
    def data_gb(self) -> float:
        """Gigabytes below the folder of data that are still to be written."""
        return 0.0 if self.fetched else self.download_gb * _UNPACKED

    @property
    def store_gb(self) -> float:
        """Gigabytes in the store that are still to be written."""
        return 0.0 if self.decoded else self.pixels_gb


@dataclass(frozen=True)
class Finding:
    """What ``check`` says of one dataset."""

    name: str
    ready: bool
    source: str
    """Kind of the source that was found, or a dash."""
    sizes: str
    message: str
    """What is wrong and what to do, or that nothing is."""


def need(suite: VisionSuite, store: Store, name: str) -> Need:
    """What a dataset still needs; a source that is there is read if it never was.

    Raises:
        DataError: if something is wrong with what is there.
    """
    fetched = any(reader.missing() is None for reader in suite.readers(name).values())
    decoded = fetched and all(suite.has_pixels(store, name, split) for split in SPLITS)
    return Need.estimated(suite, name, fetched=fetched, decoded=decoded)


def check_space(needs: Sequence[Need], root: Path, store: Path) -> None:
    """Compare what has to be written with what is free.

    Raises:
        DataError: naming the folder on whose disk there is too little space.
    """
    wanted = {root: sum(n.data_gb for n in needs), store: sum(n.store_gb for n in needs)}
    places = {path: existing(path) for path in wanted}
    if places[root].stat().st_dev == places[store].stat().st_dev:
        wanted = {root: sum(wanted.values())}
    for path, gigabytes in wanted.items():
        free = shutil.disk_usage(places[path]).free / _GB
        if gigabytes > free:
            raise DataError(
                f"{path}: {gigabytes:.1f} GB are needed and {free:.1f} GB are free; choose another disk "
                f"(--root, --store) or fewer datasets (--tasks)"
            )


def prepare(suite: VisionSuite, store: Store, name: str, report: Report) -> None:
    """Fetch a dataset if it is not there, check it, and decode its evaluation images.

    Raises:
        DataError: if no source can be fetched, or what was fetched is not as it should be.
    """
    if all(reader.missing() for reader in suite.readers(name).values()):
        report(name, "downloading")
        _download(suite, name)
    report(name, "reading")
    suite.scan(store, name)
    for split in SPLITS:
        report(name, f"decoding {split}")
        suite.pixels(store, name, split)
    if name != CONTROL:
        suite.training_set(store, name)


def check(suite: VisionSuite, store: Store, name: str) -> Finding:
    """What is there of a dataset, what is missing, and what to do."""
    try:
        found = suite.scan(store, name)
    except DataError as error:
        return Finding(name, False, "–", "", str(error))
    facts = found.facts()
    sizes = " / ".join(str(facts["sizes"].get(split, "–")) for split in ("train", *SPLITS))
    decoded = all(suite.has_pixels(store, name, split) for split in SPLITS)
    message = "ready" if decoded else "ready; evaluation images are decoded when they are first wanted"
    return Finding(name, True, facts["source"]["kind"], sizes, message)


def _download(suite: VisionSuite, name: str) -> None:
    """Try every source that can be fetched, one after the other."""
    refusals = []
    for kind, reader in suite.readers(name).items():
        try:
            reader.download()
        except DataError as error:
            refusals.append(str(error))
            _log.info("%s", error)
            continue
        if (absent := reader.missing()) is None:
            return
        refusals.append(f"{name}: {kind} was fetched, but there is no {absent}")
    raise DataError(" — ".join(refusals))


def existing(path: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
