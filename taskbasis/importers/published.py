"""Where the fine-tuned models and bases that others published lie: folders, and repositories on the Hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from taskbasis.errors import ImporterError

FILES = ("finetuned.pt", "nonlinear_finetuned.pt", "finetuned.safetensors", "encoder.safetensors")
ENDINGS = (".safetensors", ".pt")
FUSION_BENCH = {
    **{"SUN397": "sun397", "Cars": "stanford-cars", "RESISC45": "resisc45", "EuroSAT": "eurosat"},
    **{"SVHN": "svhn", "GTSRB": "gtsrb", "MNIST": "mnist", "DTD": "dtd", "Flowers102": "oxford_flowers102"},
    **{"PCAM": "pcam", "FER2013": "fer2013", "OxfordIIITPet": "oxford-iiit-pet", "STL10": "stl10"},
    **{"CIFAR100": "cifar100", "CIFAR10": "cifar10", "Food101": "food101"},
    **{"FashionMNIST": "fashion_mnist", "EMNIST": "emnist_letters", "KMNIST": "kmnist"},
    **{"RenderedSST2": "rendered-sst2"},
}
"""What FusionBench's repositories call the tasks."""
_FUSION_MODELS = {"ViT-B-32": "base-patch32", "ViT-B-16": "base-patch16", "ViT-L-14": "large-patch14"}


@dataclass(frozen=True)
class Found:
    """A checkpoint, and where it is from."""

    path: Path
    """A file, or a folder with ``model.safetensors``."""
    provenance: str
    """For people and results: never a path of this machine."""
    warning: str | None = None
    """What is known to be wrong with it."""


class ModelSource(Protocol):
    """Fine-tuned models of many tasks in one place; picklable and cheap to make."""

    def find(self, model: str, task: str) -> Found:
        """The fine-tuned checkpoint of a task.

        Args:
            model: architecture in open_clip's spelling, such as ``ViT-B-32``.
            task: name of the task.

        Raises:
            ImporterError: saying where it was looked for.
        """


@dataclass(frozen=True)
class FolderSource:
    """Folders of the task-arithmetic lineage, ``<Task>Val/finetuned.pt``, or one file per task.

    ``root`` is the folder of one model, such as ``checkpoints/ViT-B-32``, or one above: the published code
    writes ``checkpoints_<seed>`` in some of its steps and reads ``checkpoints`` in others.
    """

    root: Path

    def find(self, model: str, task: str) -> Found:
        """See :class:`ModelSource`."""
        found = [
            path for folder in self._folders(model) for path in _candidates(folder, task) if path.is_file()
        ]
        if not found:
            raise ImporterError(
                f"no fine-tuned model of {task} in {self.root}; looked for {task}Val/{FILES[0]}, "
                f"{model}/{task}Val/{FILES[0]}, {task}{ENDINGS[0]} and the like"
            )
        folders = {path.parent for path in found}
        if len(folders) > 1:
            places = ", ".join(sorted(map(str, folders)))
            raise ImporterError(f"several models of {task}: {places}; set checkpoints.root to one")
        return Found(found[0], f"folder: {found[0].relative_to(self.root).as_posix()}")

    def _folders(self, model: str) -> list[Path]:
        if not self.root.is_dir():
            raise ImporterError(f"checkpoints.root={self.root}: there is no such folder")
        above = [self.root, *(p for p in sorted(self.root.glob("checkpoints*")) if p.is_dir())]
        nested = [p for folder in above for p in sorted(folder.iterdir()) if p.is_dir()]
        return [self.root, *(p for p in nested if p.name.lower() == model.lower())]


@dataclass(frozen=True)
class TallMasks:
    """The models of TALL-masks (Wang et al. 2024) on the Hub."""

    repo: str = "nik-dim/tall_masks"
    revision: str = "main"
    spellings: Mapping[str, str] = field(default_factory=lambda: {"ViT-B-16": "VIT-B-16"})

    def find(self, model: str, task: str) -> Found:
        """See :class:`ModelSource`."""
        name = f"single_task/{self.spellings.get(model, model)}/{task}Val/nonlinear_finetuned.pt"
        path = hub_file(self.repo, name, self.revision)
        warning = None
        if task == "DTD":
            warning = (
                "DTD of TALL-masks was once trained on the test images too (nik-dim/tall_masks#1); an "
                "accuracy near 98 % instead of 79 % says that this is such a checkpoint"
            )
        return Found(path, f"{self.repo}@{commit_of(path)}: {name}", warning)


@dataclass(frozen=True)
class FusionBench:
    """The vision towers of FusionBench (Tang et al. 2024) on the Hub, a repository per task."""

    owner: str = "tanganke"
    revision: str = "main"

    def find(self, model: str, task: str) -> Found:
        """See :class:`ModelSource`."""
        if model not in _FUSION_MODELS or task not in FUSION_BENCH:
            raise ImporterError(
                f"FusionBench has no {model} for {task}; it has {', '.join(_FUSION_MODELS)} and the tasks "
                f"{', '.join(FUSION_BENCH)}"
            )
        repo = f"{self.owner}/clip-vit-{_FUSION_MODELS[model]}_{FUSION_BENCH[task]}"
        folder = hub_file(repo, "model.safetensors", self.revision).parent
        hub_file(repo, "config.json", self.revision)
        warning = (
            "FusionBench's EMNIST are the letters: another task than the digits" if task == "EMNIST" else None
        )
        return Found(folder, f"{repo}@{commit_of(folder / 'model.safetensors')}", warning)


@dataclass(frozen=True)
class PublishedBasis:
    """A basis that the authors of arXiv 2502.01015 published, on the Hub or in a folder."""

    method: str
    """``AE`` or ``PCA``."""
    M: int
    """Number of atoms; half the number of tasks is what there is."""
    root: Path | None = None
    repo: str = "cindy2000sh/TaskVectorBasis-checkpoints"
    revision: str = "main"

    def find(self, model: str, tasks: Sequence[str]) -> Found:
        """The folder of a basis, ``<model>_<AE or PCA>_M<M>_<T>task``.

        Raises:
            ImporterError: if it cannot be found or fetched.
        """
        name = f"{model}_{self.method}_M{self.M}_{len(tasks)}task"
        if self.root is None:
            folder = hub_folder(self.repo, name, self.revision)
            return Found(folder, f"{self.repo}@{commit_of(folder)}: {name}")
        for folder in (self.root / name, self.root):
            if (folder / "basis_vectors.pt").is_file():
                return Found(folder, f"folder: {folder.name}")
        raise ImporterError(
            f"no published basis in {self.root}: neither {name}/basis_vectors.pt nor basis_vectors.pt"
        )


def hub_file(repo: str, name: str, revision: str) -> Path:
    """A file of a repository on the Hub, from the local cache if it is there.

    Raises:
        ImporterError: if it cannot be fetched.
    """
    from huggingface_hub import hf_hub_download

    return Path(_fetch(repo, name, lambda: hf_hub_download(repo, name, revision=revision)))


def hub_folder(repo: str, name: str, revision: str) -> Path:
    """A folder of a repository on the Hub, from the local cache if it is there.

    Raises:
        ImporterError: if it cannot be fetched, or the repository has no such folder.
    """
    from huggingface_hub import snapshot_download

    root = _fetch(
        repo, name, lambda: snapshot_download(repo, revision=revision, allow_patterns=[f"{name}/*"])
    )
    folder = Path(root) / name
    if not folder.is_dir():
        raise ImporterError(f"{repo} at {revision} has no folder {name}")
    return folder


def commit_of(path: Path) -> str:
    """The commit that a path in the Hub's cache belongs to, or ``unknown``."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else "unknown"


def _candidates(folder: Path, task: str) -> list[Path]:
    nested = [folder / place / name for place in (f"{task}Val", task) for name in FILES]
    return nested + [folder / f"{task}{ending}" for ending in ENDINGS]


def _fetch(repo: str, name: str, fetch: Any) -> str:
    try:
        fetched: str = fetch()
    except Exception as error:
        # The client's errors come from three libraries, and offline mode has its own.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ImporterError(
            f"cannot fetch {name} of {repo} from the Hugging Face Hub: {reason}; without a connection fill "
            f"its cache (HF_HOME) on a machine that has one, or use checkpoints=folder"
        ) from error
    return fetched
