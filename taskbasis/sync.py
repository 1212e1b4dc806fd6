"""``python -m taskbasis.sync [DIR …]``: upload the W&B runs that were recorded offline."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from taskbasis.command import add_run_folders, check_folders, run_plain
from taskbasis.errors import ConfigError


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is that of W&B's own upload.

    Raises:
        ConfigError: if a folder does not exist, or W&B knows no key.
    """
    options = _parser().parse_args(arguments)
    check_folders(options.folders)
    console = Console()
    segments = offline_segments(options.folders)
    runs = len({run_id(segment) for segment in segments})
    console.print(f"{runs} W&B runs to upload, in {len(segments)} segments", soft_wrap=True)
    if options.dry_run:
        for segment in segments:
            console.print(segment, markup=False, highlight=False, soft_wrap=True)
        return 0
    if not segments and not options.workspace:
        return 0
    _need_key()
    code = _upload(segments) if segments else 0
    if options.workspace is not None:
        from taskbasis.tracking.workspace import save_workspace

        console.print(f"workspace: {save_workspace(options.workspace)}", soft_wrap=True)
    return code


def offline_segments(folders: Iterable[Path]) -> list[Path]:
    """Folders of offline recordings that were not uploaded yet: run by run, each in the order of time."""
    found = {segment.resolve(): segment for folder in folders for segment in folder.rglob("offline-run-*")}
    waiting = [s for s in found.values() if list(s.glob("*.wandb")) and not list(s.glob("*.wandb.synced"))]
    return sorted(waiting, key=lambda segment: (run_id(segment), segment.name))


def run_id(segment: Path) -> str:
    """The W&B run that a folder ``offline-run-<time>-<id>`` belongs to."""
    return segment.name.rpartition("-")[2]


def _upload(segments: Sequence[Path]) -> int:
    command = [sys.executable, "-m", "wandb", "sync", "--yes", *map(str, segments)]
    return subprocess.run(command, check=False).returncode


def _need_key() -> None:
    # Imported now: --dry-run needs no W&B.
    from taskbasis.tracking.wandb_mirror import has_key

    if not has_key():
        raise ConfigError("W&B knows no key: run `wandb login`, or set WANDB_API_KEY")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taskbasis.sync", description=__doc__)
    add_run_folders(parser)
    parser.add_argument("--dry-run", action="store_true", help="name what would be uploaded")
    parser.add_argument(
        "--workspace",
        metavar="ENTITY/PROJECT",
        help="also save a W&B workspace there that lays out the comparison of runs",
    )
    return parser


if __name__ == "__main__":
    run_plain(main)
