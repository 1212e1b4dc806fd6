"""The weights of a run beside its records, for those who want them sent to W&B."""

from __future__ import annotations

from pathlib import Path

from taskbasis.builders import Plan
from taskbasis.models.stages import ENCODER
from taskbasis.pipeline import Outcome, merged_coefficients

MERGED = "merged.safetensors"


def save_basis(outcome: Outcome, folder: Path, *, atoms: bool) -> Path:
    """Write the basis to a folder, with its atoms or its matrices alone; the folder."""
    return outcome.compressed.basis.save(folder, outcome.compressed.sources.vectors if atoms else None)


def save_merged(plan: Plan, outcome: Outcome, folder: Path) -> Path | None:
    """Write the image encoder θ₀ + α·v that addition chose to a folder; its file, None without addition."""
    if "addition" not in outcome.protocols:
        return None
    vector = outcome.compressed.sources.vectors.combine(
        merged_coefficients(plan.merge, outcome.compressed.basis), ["merged"]
    )
    (written,) = vector.save_models(
        {"merged": folder / MERGED},
        outcome.models.checkpoints.theta0.file(ENCODER),
        outcome.protocols["addition"]["search"]["alpha"],
        threads=plan.compute.threads,
    ).values()
    return written
