"""Datasets on the Hugging Face Hub: tables in parquet files, read by ``datasets``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taskbasis.data.vision.catalog import Dataset, SourceSpec
from taskbasis.data.vision.images import Images, TableImages
from taskbasis.data.vision.readers.reader import check_count, labels_by_name
from taskbasis.errors import DataError
from taskbasis.store import write_json

RECORD = "source.json"
"""Which commit of the repository was fetched."""
_SPLITS = {"train": "train", "test": "test"}


@dataclass(frozen=True)
class HubReader:
    """The parquet files of a repository, copied to ``<root>/hub/<owner>--<name>`` as they are there."""

    dataset: Dataset
    source: SourceSpec
    root: Path

    @property
    def place(self) -> Path:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        return self.root / "hub" / self._repo.replace("/", "--")

    def missing(self) -> str | None:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        absent = [split for split in self._splits.values() if not self._files(split)]
        return f"parquet files of {', '.join(absent)} in {self.place}" if absent else None

    def parts(self) -> Mapping[str, Images]:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        return {part: self._images(split) for part, split in self._splits.items()}

    def provenance(self) -> dict[str, str]:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        path = self.place / RECORD
        found: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
        return found

    def download(self) -> None:
        """See :class:`~taskbasis.data.vision.readers.reader.Reader`."""
        from huggingface_hub import HfApi, snapshot_download

        subset = self.source.settings.get("subset", "")
        wanted = [f"*{subset}*{split}*.parquet" for split in self._splits.values()]
        try:
            asked = self.source.settings.get("revision")
            commit = HfApi().dataset_info(self._repo, revision=asked).sha
            snapshot_download(
                self._repo,
                repo_type="dataset",
                revision=commit,
                local_dir=self.place,
                allow_patterns=wanted,
            )
        except Exception as error:
            # The client's errors come from three libraries, and offline mode has its own.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"{self.dataset.name}: cannot fetch {self._repo} from the Hugging Face Hub: {reason}. "
                f"Run the command again to go on with what is there"
            ) from error
        write_json(self.place / RECORD, {"repo": self._repo, "commit": commit})

    @property
    def _repo(self) -> str:
        return str(self.source.settings["repo"])

    @property
    def _splits(self) -> Mapping[str, str]:
        splits: Mapping[str, str] = self.source.settings.get("splits", _SPLITS)
        return splits

    def _files(self, split: str) -> list[Path]:
        """Files of a split: ``data/train-00000-of-00001.parquet`` or ``default/train/0000.parquet``."""
        pattern = re.compile(rf"(.*/)?{re.escape(split)}((-\d+-of-\d+[^/]*)?\.parquet|/[^/]+\.parquet)")
        subset = self.source.settings.get("subset")
        found = []
        for path in sorted(self.place.rglob("*.parquet")):
            name = path.relative_to(self.place)
            if pattern.fullmatch(name.as_posix()) and (subset is None or subset in name.parts):
                found.append(path)
        return found

    def _images(self, split: str) -> TableImages:
        origin = f"{self._repo}, {split}"
        table = self._table(split)
        image, label = self._columns(table, origin)
        return TableImages(table.select_columns([image]), image, self._labels(table, label, origin), origin)

    def _table(self, split: str) -> Any:
        import datasets

        datasets.disable_progress_bars()
        files = [str(path) for path in self._files(split)]
        try:
            table = datasets.load_dataset(
                "parquet", data_files=files, split="train", cache_dir=str(self.place / ".tables")
            )
        except Exception as error:
            # Errors of the builder wrap those of arrow and of the file system.
            cause = error.__cause__ or error
            raise DataError(
                f"{self.dataset.name}: the parquet files of {split} in {self.place} cannot be read: {cause}. "
                f"If a download broke off, remove them and run python -m taskbasis.data prepare again"
            ) from error
        for name, feature in table.features.items():
            if isinstance(feature, datasets.Image):
                table = table.cast_column(name, datasets.Image(decode=False))
        return table

    def _columns(self, table: Any, origin: str) -> tuple[str, str]:
        """The columns of images and labels: those the catalog names, or the only ones of their kind."""
        import datasets

        found = []
        for role, kind in (("image", datasets.Image), ("label", datasets.ClassLabel)):
            named = self.source.settings.get(role)
            typed = [n for n, feature in table.features.items() if isinstance(feature, kind)]
            name = named or (typed[0] if len(typed) == 1 else role)
            if name not in table.features:
                raise DataError(
                    f"{self.dataset.name}: {origin} has no column {name!r}, but {', '.join(table.features)}"
                )
            found.append(name)
        return found[0], found[1]

    def _labels(self, table: Any, column: str, origin: str) -> Tensor:
        """Labels in our order: by name where the table names its classes, else as they are."""
        values = torch.tensor(table[column][:], dtype=torch.int64)
        names = getattr(table.features[column], "names", None)
        if names is None or all(name == str(i) for i, name in enumerate(names)):
            return values
        if self.source.settings.get("ordered", False):
            check_count(self.dataset, names, origin)
            return values
        ours = labels_by_name(self.dataset, names, origin)
        return torch.tensor([ours[name] for name in names])[values]
