"""Removes machine paths and secrets from everything that is written or sent."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
