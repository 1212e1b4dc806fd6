"""Serves the page to this machine: the runs as they are now, and the files of the given folders."""

from __future__ import annotations

import html
import json
import logging
import mimetypes
import secrets
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from taskbasis.dashboard.content import details, key_of, table_content
from taskbasis.dashboard.libraries import asset, asset_names
from taskbasis.dashboard.page import served_page
from taskbasis.tracking.collection import Collection, Run

_log = logging.getLogger(__name__)
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_TYPES = {".js": "text/javascript", ".css": "text/css", ".png": "image/png"}


@dataclass(frozen=True)
class Answer:
    """An answer to a request."""

    content: bytes
    kind: str = "text/plain"
    status: HTTPStatus = HTTPStatus.OK
    policy: str = "default-src 'none'; sandbox"
    tag: str | None = None
    """Changes with the content."""


class Site:
    """What is served: pure functions from an address to an answer.

    Args:
        folders: where runs are looked for; nothing outside them is ever read for a request.
    """

    def __init__(self, folders: list[Path]) -> None:
        self._collection = Collection(folders)
        self._roots = [folder.resolve() for folder in folders]
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def answer(self, address: str) -> Answer:
        """The answer to a GET request for ``address``."""
        parts = [unquote(part) for part in urlsplit(address).path.split("/")[1:]]
        match parts:
            case [""]:
                return self._page()
            case ["runs.json"]:
                return self._table()
            case ["details", key]:
                return self._details(key)
            case ["assets", name] if name in asset_names():
                return Answer(asset(name).encode(), _TYPES[Path(name).suffix])
            case ["files", number, *path] if number.isdigit() and int(number) < len(self._roots):
                return self._file(int(number), path)
        return _missing()

    def _page(self) -> Answer:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        return Answer(served_page(nonce).encode(), "text/html", policy=policy)

    def _table(self) -> Answer:
        with self._lock:
            runs = self._collection.runs()
            self._runs = {key_of(run): run for run in runs}
            content = table_content(self._collection, self._links(runs))
            tag = self._collection.state
        return Answer(json.dumps(content, allow_nan=False).encode(), "application/json", tag=f'"{tag}"')

    def _details(self, key: str) -> Answer:
        with self._lock:
            if not self._runs:
                self._runs = {key_of(run): run for run in self._collection.runs()}
        if (run := self._runs.get(key)) is None:
            return _missing()
        return Answer(json.dumps(details(run), allow_nan=False).encode(), "application/json")

    def _links(self, runs: list[Run]) -> dict[Path, str]:
        links = {}
        for run in runs:
            folder = run.folder.resolve()
            for number, root in enumerate(self._roots):
                if folder.is_relative_to(root):
                    links[run.folder] = "/".join(["/files", str(number), *folder.relative_to(root).parts, ""])
        return {folder: quote(link) for folder, link in links.items()}

    def _file(self, number: int, path: list[str]) -> Answer:
        root = self._roots[number]
        try:
            target = root.joinpath(*(part for part in path if part)).resolve()
        except (OSError, ValueError):
            return _missing()
        hidden = any(part.startswith(".") for part in path)
        if hidden or not target.is_relative_to(root) or not target.exists():
            return _missing()
        if target.is_dir():
            return Answer(_listing(target).encode(), "text/html")
        kind = mimetypes.guess_type(target.name)[0] or ""
        # Text is never shown as a page, whatever its name says.
        return Answer(target.read_bytes(), kind if kind == "image/png" else "text/plain")


def serve(folders: list[Path], host: str, port: int) -> ThreadingHTTPServer:
    """A server of the page, not yet running; port 0 takes a free one.

    Raises:
        OSError: if the address is in use or not this machine's.
    """
    site = Site(folders)
    allowed = (*_LOCAL, host)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "taskbasis"
        sys_version = ""

        def do_GET(self) -> None:
            # A page elsewhere may let its name point here: only names of this machine are answered.
            name = self.headers.get("Host", "").rsplit(":", 1)[0]
            known = host in ("0.0.0.0", "::") or name in allowed
            self._send(site.answer(self.path) if known else _missing())

        def _send(self, answer: Answer) -> None:
            unchanged = answer.tag is not None and self.headers.get("If-None-Match") == answer.tag
            content = b"" if unchanged else answer.content
            self.send_response(HTTPStatus.NOT_MODIFIED if unchanged else answer.status)
            self.send_header("Content-Type", f"{answer.kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Security-Policy", answer.policy)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cache-Control", "no-cache")
            if answer.tag is not None:
                self.send_header("ETag", answer.tag)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            _log.debug(format, *arguments)

    return ThreadingHTTPServer((host, port), Handler)


def _listing(folder: Path) -> str:
    names = sorted(f"{p.name}/" if p.is_dir() else p.name for p in folder.iterdir() if p.name[0] != ".")
    items = "".join(f'<li><a href="./{quote(name)}">{html.escape(name)}</a></li>' for name in names)
    title = html.escape(folder.name)
    return f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1><ul>{items}</ul>"


def _missing() -> Answer:
    return Answer(b"not found", status=HTTPStatus.NOT_FOUND)
