"""The page: a shell that loads its parts from a server, or one file that holds all of them."""

from __future__ import annotations

import base64
import gzip
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader

from taskbasis.dashboard.content import details, key_of, script_json, table_content
from taskbasis.dashboard.libraries import ASSETS, MODULES, asset
from taskbasis.store.atomic import write_text
from taskbasis.tracking.collection import Collection, Run

REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data: blob:"
)
"""What a report may do: run what it holds, and reach nothing."""


def served_page(nonce: str) -> str:
    """The shell that a server sends; its inline script carries ``nonce``."""
    imports = {name: f"/assets/{name}.js" for name in (*MODULES, "datatables")}
    return _render(
        nonce=nonce, imports=imports, styles=None, plotly=None, data=None, details=None, policy=None
    )


def write_report(collection: Collection, path: Path) -> int:
    """Write one file that shows all runs and opens without a network; the number of runs.

    Raises:
        StoreError: if the file cannot be written.
        ConfigError: if a library of the page is not installed.
    """
    runs = collection.runs()
    links = {run.folder: quote(os.path.relpath(run.folder, path.parent)) for run in runs}
    page = _render(
        nonce="",
        imports={name: _data_url(asset(f"{name}.js")) for name in (*MODULES, "datatables")},
        styles=[asset("datatables.css"), asset("dashboard.css")],
        plotly=asset("plotly.min.js"),
        data=table_content(collection, links),
        details=_packed(runs),
        policy=REPORT_POLICY,
    )
    write_text(path, page)
    return len(runs)


def _render(**parts: Any) -> str:
    environment = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, trim_blocks=True)
    environment.filters["script_json"] = script_json
    return environment.get_template("page.html").render(parts)


def _packed(runs: Iterable[Run]) -> dict[str, str]:
    """Details by run, each compressed: a page of thousands of runs unpacks only what is looked at."""
    return {key_of(run): _base64(gzip.compress(script_json(details(run)).encode(), mtime=0)) for run in runs}


def _data_url(script: str) -> str:
    return f"data:text/javascript;base64,{_base64(script.encode())}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
