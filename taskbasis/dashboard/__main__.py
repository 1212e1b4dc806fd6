"""``python -m taskbasis.dashboard [DIR …]``: compare all runs that are found, in a browser."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from taskbasis.command import add_run_folders, check_folders, run_plain
from taskbasis.dashboard.page import write_report
from taskbasis.dashboard.server import serve
from taskbasis.errors import ConfigError
from taskbasis.tracking.collection import Collection


def main(arguments: Sequence[str]) -> int:
    """Serve the page, or write it.

    Raises:
        ConfigError: if a folder does not exist or the address cannot be had.
        StoreError: if the file cannot be written.
    """
    options = _parser().parse_args(arguments)
    console = Console()
    check_folders(options.folders)
    if options.out is not None:
        collection = Collection(options.folders)
        count = write_report(collection, options.out)
        console.print(f"{count} runs: {options.out}", soft_wrap=True)
        for path, reason in collection.unreadable.items():
            console.print(f"left out {path}: {reason}", style="yellow", markup=False, soft_wrap=True)
        return 0
    return _serve(options.folders, options.host, options.port, console)


def _serve(folders: list[Path], host: str, port: int, console: Console) -> int:
    try:
        server = serve(folders, host, port)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--host {host} --port {port}: {error}") from error
    console.print(f"http://{host}:{server.server_port}  (Ctrl-C stops it)", soft_wrap=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taskbasis.dashboard", description=__doc__)
    add_run_folders(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write one file instead; it opens offline")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (%(default)s: only this machine)"
    )
    parser.add_argument("--port", type=int, default=8765, help="port; 0 takes a free one (%(default)s)")
    return parser


if __name__ == "__main__":
    run_plain(main)
