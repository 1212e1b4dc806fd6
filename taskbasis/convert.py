"""``python -m taskbasis.convert SRC DST``: what others wrote, as safetensors and JSON; none of it is run."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from taskbasis.checkpoints import refuse_to_replace
from taskbasis.command import run_plain
from taskbasis.errors import ImporterError, TaskbasisError
from taskbasis.importers import (
    PICKLES,
    Checkpoint,
    filled,
    import_checkpoint,
    import_run,
    is_run,
    selected,
    to_hf,
)
from taskbasis.store import file_sha256, write_json
from taskbasis.vectors.layout import Selection
from taskbasis.vectors.writer import SUFFIX

RECORD = "conversion.json"
EPILOG = """SRC is one of
  a pickle of torch.save     an image encoder or head of the task-arithmetic lineage (whole module), or a
                             state dict; names lose a leading "model."
  a basis folder             of the published code (basis_vectors.pt …); DST becomes a basis folder
  safetensors or a folder    of a Hugging Face CLIP vision tower; names become open_clip's
  a folder of pickles and    basis folders, at any depth: converted one by one into the same folders
                             under DST
Heads are kept as they are: they have no towers to select from, to fill or to rename.

examples:
  python -m taskbasis.convert checkpoints/ViT-B-32 converted --select visual.
  python -m taskbasis.convert ViT-B-32_AE_M4_8task bases/ae-M4
  python -m taskbasis.convert clip-vit-base-patch32_sun397 sun397.safetensors --fill theta0.safetensors
  python -m taskbasis.convert merged.safetensors hf/model.safetensors --to hf
"""


@dataclass(frozen=True)
class Options:
    """How checkpoints are converted."""

    select: Selection
    """Which tensors are kept."""
    base: Checkpoint | None = None
    """Where tensors come from that a checkpoint lacks."""
    to_hf: bool = False
    """Whether names become those of transformers instead of open_clip's."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 1 if a file of a folder was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m taskbasis.convert",
        description="Turn checkpoints and bases that others wrote into safetensors and JSON, once.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC", type=Path)
    parser.add_argument("target", metavar="DST", type=Path, help="a .safetensors file, or a folder")
    parser.add_argument(
        "--select", help="keep tensors with this prefix, or that match /a regular expression/"
    )
    parser.add_argument("--fill", type=Path, metavar="BASE", help="take the tensors that SRC lacks from here")
    parser.add_argument(
        "--to", choices=["open_clip", "hf"], default="open_clip", help="naming of CLIP towers"
    )
    given = parser.parse_args(arguments)
    base = None if given.fill is None else import_checkpoint(given.fill)
    options = Options(Selection.parse(given.select), base, given.to == "hf")
    console = Console()
    if is_run(given.source):
        convert_run(given.source, given.target, options.select)
        console.print(f"basis: {given.target}", markup=False)
        return 0
    if given.source.is_dir() and not any(given.source.glob(f"*{SUFFIX}*")):
        return convert_tree(given.source, given.target, options, console)
    convert_checkpoint(given.source, given.target, options)
    console.print(f"converted: {given.target}", markup=False)
    return 0


def convert_checkpoint(source: Path, target: Path, options: Options) -> Checkpoint:
    """Read one checkpoint and write it as safetensors; what it was. The options are for all but heads.

    Raises:
        TaskbasisError: naming what is refused or cannot be written; nothing is left then.
    """
    checkpoint = import_checkpoint(source)
    if not checkpoint.is_head:
        checkpoint = _changed(checkpoint, options)
    if target.exists() and source.exists() and target.samefile(source):
        raise ImporterError(f"{target} is the source itself; choose another place")
    checkpoint.save(target)
    return checkpoint


def _changed(checkpoint: Checkpoint, options: Options) -> Checkpoint:
    if options.base is not None:
        checkpoint = filled(checkpoint, options.base.tensors)
    checkpoint = selected(checkpoint, options.select)
    return to_hf(checkpoint.tensors) if options.to_hf else checkpoint


def convert_run(source: Path, target: Path, select: Selection) -> None:
    """Read a basis of the published code and write it as a basis folder.

    Raises:
        TaskbasisError: naming what is refused or cannot be written; nothing is left then.
    """
    refuse_to_replace(target, [source])
    imported = import_run(source, select)
    imported.basis.save(target, imported.vectors)


def convert_tree(source: Path, target: Path, options: Options, console: Console) -> int:
    """Convert every checkpoint and basis under a folder; the exit code.

    A file that is refused is named, and the others are converted all the same.
    """
    records, refused, found = [], 0, list(_find(source))
    if not found:
        raise ImporterError(f"{source} holds no pickle ({', '.join(PICKLES)}) and no basis")
    for path in found:
        place = path.relative_to(source)
        try:
            _refuse_rivals(path, found)
            records.append(_convert_one(path, target / place, options) | {"source": place.as_posix()})
            console.print(f"converted: {place}", markup=False)
        except TaskbasisError as error:
            console.print(f"refused: {error}", style="red", markup=False)
            refused += 1
    write_json(target / RECORD, {"converted": records, "refused": refused})
    return 1 if refused else 0


def _convert_one(path: Path, place: Path, options: Options) -> dict[str, Any]:
    if path.is_dir():
        convert_run(path, place, options.select)
        return {"kind": "basis", "target": place.name}
    place = _named(place)
    checkpoint = convert_checkpoint(path, place, options)
    return {
        "kind": checkpoint.kind,
        "target": place.name,
        "sha256": file_sha256(path),
        **checkpoint.facts,
    }


def _named(path: Path) -> Path:
    """What a pickle is called once it is converted."""
    return path.with_suffix(SUFFIX)


def _refuse_rivals(path: Path, found: Sequence[Path]) -> None:
    """Refuse pickles that would become one file."""
    rivals = [other for other in found if other.suffix in PICKLES and _named(other) == _named(path)]
    if len(rivals) > 1:
        names = " and ".join(map(str, rivals))
        raise ImporterError(
            f"{names} would become one file, {_named(path).name}; rename or remove all but one"
        )


def _find(folder: Path) -> Iterator[Path]:
    """Basis folders, and pickles outside of them, in sorted order."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if is_run(path):
                yield path
            else:
                yield from _find(path)
        elif path.suffix in PICKLES:
            yield path


if __name__ == "__main__":
    run_plain(main)
