"""The run folder: configuration, log, metrics and result, written locally before anything else."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from taskbasis.config import NOT_SEMANTIC, Composed
from taskbasis.errors import StoreError
from taskbasis.store.atomic import write_json, write_text
from taskbasis.store.store import versions
from taskbasis.tracking.redaction import Redactor

RESULT_SCHEMA = 1
_POINTS = 100


class RunRecord:
    """Writes one run's folder.

    Files: ``config.yaml`` (resolved), ``run.log``, ``metrics.jsonl`` (one line per recorded point) and
    ``result.json`` (schema 1), which is the last to appear.

    Raises:
        StoreError: if the folder cannot be made or written.
    """

    def __init__(self, composed: Composed, redactor: Redactor) -> None:
        self.composed, self.redactor = composed, redactor
        self.folder = Path(composed.config.paths.runs) / composed.run_name
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        write_text(
            self.folder / "config.yaml", redactor.text(OmegaConf.to_yaml(composed.config, resolve=True))
        )
        (self.folder / "result.json").unlink(missing_ok=True)
        try:
            self._metrics = (self.folder / "metrics.jsonl").open("w")
            self._handler = logging.FileHandler(self.folder / "run.log", mode="w")
        except OSError as error:
            raise StoreError(f"cannot write in {self.folder}: {error.strerror or error}") from error
        self._handler.setFormatter(_RedactingFormatter(redactor))
        logging.getLogger("taskbasis").addHandler(self._handler)

    def point(self, stage: str, item: str, step: float, values: Mapping[str, float]) -> None:
        """Append one line to ``metrics.jsonl``: numbers at a step of an item of a stage."""
        self._metrics.write(json.dumps({"stage": stage, "item": item, "step": step, **values}) + "\n")
        self._metrics.flush()

    def content(
        self, parts: Mapping[str, Any], *, run: Mapping[str, Any], error: str | None = None
    ) -> dict[str, Any]:
        """What ``result.json`` will say, redacted.

        Args:
            parts: what the run found; empty if it failed.
            run: facts about this execution only, such as seconds and what was reused.
            error: why the run failed, if it did.
        """
        config = self.composed.config
        plain = OmegaConf.to_container(config, resolve=True)
        environment = {key: _select(plain, key) for key in NOT_SEMANTIC}
        result = {
            "schema": RESULT_SCHEMA,
            "run": {
                "id": self.composed.run_name,
                "status": "failed" if error else "completed",
                "error": error,
                "fingerprint": self.composed.fingerprint,
                "started": self.started,
                **run,
                "choices": {k: v for k, v in self.composed.choices.items() if "/" not in k},
                "overrides": list(self.composed.overrides),
                "environment": environment,
                "versions": versions(),
                "git": git_state(),
            },
            "config": self.composed.semantic,
            "overrides": self.composed.semantic_overrides,
            "seeds": {"finetune": config.finetune.seed, "basis": config.seed},
            **parts,
        }
        clean: dict[str, Any] = self.redactor.value(result)
        return clean

    def write(self, content: Mapping[str, Any]) -> None:
        """Write ``result.json``: from then on the run counts as finished."""
        write_json(self.folder / "result.json", content)

    def close(self) -> None:
        """Close the log and the metrics."""
        logging.getLogger("taskbasis").removeHandler(self._handler)
        self._handler.close()
        self._metrics.close()


def worth_recording(done: int, total: int) -> bool:
    """Whether to record step ``done`` of ``total``: about a hundred points of a curve, ends included."""
    return done == total or done == 1 or done % max(1, total // _POINTS) == 0


@cache
def git_state() -> dict[str, Any]:
    """Commit of the checkout that taskbasis runs from, and whether it was changed; empty elsewhere."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(folder), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", Path(__file__).name) is None and git("ls-files", "..") in (
        None,
        "",
    ):
        return {}
    return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", ".."))}


def _select(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


class _RedactingFormatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.text(super().format(record))
