"""Removes machine paths and secrets from everything that is written or sent."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskbasis.config import Composed

_LOCAL = "local-dir:"
_SECRET = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)($|_)", re.IGNORECASE)
_SHORTEST_SECRET = 8


class Redactor:
    """Replaces known folders by names and the values of secret environment variables by ``<secret>``.

    Args:
        folders: names by folder, such as ``{"data": "/big/disk"}``; the home folder is always included.
        environment: where secrets are looked for; the process's own by default.
    """

    def __init__(
        self, folders: Mapping[str, Path | str] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        environment = os.environ if environment is None else environment
        known = {str(Path(path).absolute()): f"<{name}>" for name, path in (folders or {}).items()}
        known[str(Path.home())] = "~"
        paths = sorted((p for p in known if len(p) > 1), key=len, reverse=True)
        secrets = {v for k, v in environment.items() if _SECRET.search(k) and len(v) >= _SHORTEST_SECRET}
        self._replacements = [(s, "<secret>") for s in secrets] + [(p, known[p]) for p in paths]

    def text(self, text: str) -> str:
        """``text`` without secrets and machine paths."""
        for old, new in self._replacements:
            text = text.replace(old, new)
        return text

    def value(self, value: Any) -> Any:
        """A JSON-like value with every string in it redacted, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.value(k): self.value(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(v) for v in value]
        return value


def redactor_of(job: Composed) -> Redactor:
    """What removes the machine's paths and secrets from the records of a job."""
    config = job.config
    named = str(config.model.get("name") or "")
    folders = {
        **_installed(),
        # Usually that of the data, whose name then stands.
        "suite": config.suite.get("root"),
        "root": config.paths.root,
        "data": config.paths.data,
        "store": config.paths.store,
        "runs": config.paths.runs,
        "checkpoints": config.checkpoints.root,
        "weights": config.model.get("weights"),
        "model": named.removeprefix(_LOCAL) if named.startswith(_LOCAL) else None,
    }
    return Redactor({name: path for name, path in folders.items() if path})


def _installed() -> dict[str, str]:
    """Where Python, its libraries and this package lie, which tracebacks tell."""
    places = sysconfig.get_paths()
    libraries = {"stdlib": places["stdlib"], "packages": places["purelib"], "python": sys.prefix}
    return libraries | {"taskbasis": str(Path(__file__).resolve().parents[1])}
