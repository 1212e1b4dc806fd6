"""What a run made, as W&B artifacts: checkpoints → Gram matrix → basis → merged model.

Unless they are asked for, weights stay in the store. An artifact describes what was made, by content hash,
and its metadata names what it was made from, so that the lineage can be read also from runs that were
recorded offline.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb

from taskbasis.store import digest


@dataclass(frozen=True)
class Made:
    """Files that a run leaves."""

    basis: Path
    """Folder of the basis, with its atoms if they are to be sent."""
    merged: Path | None = None
    """The merged image encoder, if it is to be sent."""


def artifacts(result: Mapping[str, Any], made: Made) -> list[wandb.Artifact]:
    """The artifacts of a completed run, in the order in which they were made.

    Args:
        result: the content of ``result.json``.
        made: what it left. These files stay where they are; W&B makes no copies of them.
    """
    inputs = result["inputs"].items()
    # A basis may have been published without its models.
    checkpoints = [_checkpoint(task, facts) for task, facts in inputs if facts["sha256"] is not None]
    sources = [artifact.name for artifact in checkpoints]
    gram_facts = {"tasks": result["tasks"], **result["gram"]}
    gram = _described(
        f"gram-{_short([sources, result['gram']['matrix']])}", "gram", gram_facts, made_from=sources
    )
    fitted = wandb.Artifact(
        f"basis-{_short([gram.name, result['basis']['parameters'], result['basis']['encoder']])}",
        type="basis",
        metadata={"made_from": [gram.name], "method": result["basis"]["method"], "M": result["basis"]["M"]},
    )
    for path in sorted(p for p in made.basis.rglob("*") if p.is_file()):
        _add(fitted, path, path.relative_to(made.basis).as_posix())
    found = [*checkpoints, gram, fitted]
    if (addition := result["protocols"].get("addition")) is not None:
        merged = {
            "merge": addition["merge"],
            "alpha": addition["search"]["alpha"],
            "merged_norm": addition["search"]["merged_norm"],
            "test": addition["test"],
        }
        name = f"merged-{_short([fitted.name, addition['merge'], merged['alpha']])}"
        found.append(_described(name, "merged", merged, made_from=[fitted.name]))
        if made.merged is not None:
            _add(found[-1], made.merged, made.merged.name)
    return found


def _add(artifact: wandb.Artifact, path: Path, name: str) -> None:
    artifact.add_file(str(path), name=name, skip_cache=True, policy="immutable")


def _checkpoint(task: str, facts: Mapping[str, Any]) -> wandb.Artifact:
    artifact = _described(
        f"finetuned-{facts['sha256'][:12]}", "finetuned", {"task": task, **facts}, made_from=[]
    )
    artifact.metadata["task"] = task
    return artifact


def _described(name: str, kind: str, facts: Mapping[str, Any], *, made_from: list[str]) -> wandb.Artifact:
    artifact = wandb.Artifact(name, type=kind, metadata={"made_from": made_from})
    with artifact.new_file(f"{kind}.json", mode="w") as file:
        json.dump(facts, file, indent=1)
    return artifact


def _short(value: Any) -> str:
    return digest(value)[:12]
