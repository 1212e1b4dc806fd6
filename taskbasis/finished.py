"""Runs that need not be repeated."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from taskbasis import __version__
from taskbasis.basis.stages import BasisKey
from taskbasis.builders import Plan
from taskbasis.data.mini import MINI_VERSION
from taskbasis.data.mini.suite import DrawingKey
from taskbasis.data.vision.scan import ScanKey
from taskbasis.data.vision.suite import PixelKey
from taskbasis.evaluation.scoring import ScoreKey
from taskbasis.extensions import source_sha256
from taskbasis.importers.published import FolderSource
from taskbasis.models.imported import ImportedBasisKey, ImportedKey
from taskbasis.models.stages import HeadKey, PretrainedKey
from taskbasis.store import digest
from taskbasis.store.hashing import files_state
from taskbasis.training.finetuning import FinetuneKey
from taskbasis.vectors.stages import CombinedKey, GramKey

STAGES = (
    *(PretrainedKey, HeadKey, DrawingKey, ScanKey, PixelKey, FinetuneKey, ImportedKey, ImportedBasisKey),
    *(GramKey, BasisKey, CombinedKey, ScoreKey),
)
"""Every stage whose results are stored."""


def code_identity(plan: Plan) -> str:
    """Hash of what a result depends on and its configuration does not say: code, weights and data on disk."""
    versions = {key.STAGE: key.VERSION for key in STAGES} | {"mini": MINI_VERSION}
    files = {"data": plan.suite.files_state([task.name for task in plan.tasks])}
    if isinstance(plan.imported, FolderSource):
        files["checkpoints"] = files_state(plan.imported.root)
    if plan.published is not None and plan.published.root is not None:
        files["bases"] = files_state(plan.published.root)
    added = {"basis": source_sha256(type(plan.basis)), "merge": source_sha256(type(plan.merge))}
    known = {"taskbasis": __version__, "stages": versions, "model": plan.clip.identity(), "files": files}
    return digest(known | {"added": added})


def finished_result(
    folder: Path, fingerprint: str, code: str, since: datetime | None = None
) -> dict[str, Any] | None:
    """The result in a run folder, if it is complete and what a run would find again.

    Args:
        folder: of the run.
        fingerprint: of its configuration, which the result must agree with.
        code: see :func:`code_identity`; the result must agree with it too.
        since: if given, results of runs that started before do not count.
    """
    try:
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        run = result["run"]
        same = (run["status"], run["fingerprint"], run["code"]) == ("completed", fingerprint, code)
        recent = since is None or datetime.fromisoformat(run["started"]) >= since
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if same and recent else None
