"""Reading ``result.json``: the numbers by which runs are compared, under stable names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def top1(count: Mapping[str, int]) -> float:
    """Accuracy of a stored count."""
    return count["correct"] / count["n"]


def ratio(count: Mapping[str, int], reference: Mapping[str, int]) -> float | None:
    """Accuracy divided by a reference's; None if that is zero."""
    return top1(count) / top1(reference) if reference["correct"] else None


def test_counts(result: Mapping[str, Any], kind: str) -> dict[str, Mapping[str, int]]:
    """Test counts by task of ``zeroshot``, ``finetuned`` or ``addition``."""
    if kind == "addition":
        return dict(result["protocols"]["addition"]["test"])
    return {task: splits["test"] for task, splits in result["single"][kind].items()}


def has_finetuned(result: Mapping[str, Any]) -> bool:
    """Whether fine-tuned models were scored; a published basis comes without them."""
    return bool(result["single"]["finetuned"])


def mean_top1(counts: Mapping[str, Mapping[str, int]]) -> float:
    """Mean accuracy over tasks."""
    return sum(map(top1, counts.values())) / len(counts)


def chosen_point(search: Mapping[str, Any]) -> Mapping[str, Any]:
    """The point of a validation curve at the α that was chosen."""
    (point,) = (point for point in search["curve"] if point["alpha"] == search["alpha"])
    return dict(point)


def metrics(result: Mapping[str, Any]) -> dict[str, float | None]:
    """All numbers of a completed run that are worth comparing."""
    basis = result["basis"]
    numbers: dict[str, float | None] = {
        "zeroshot/test/top1": mean_top1(test_counts(result, "zeroshot")),
        "finetuned/test/top1": mean_top1(test_counts(result, "finetuned")) if has_finetuned(result) else None,
        "basis/loss": basis["loss"],
        "basis/spectral_bound": basis["spectral_bound"],
        "basis/relative_error": basis["relative_error"],
        "basis/condition": basis["condition"],
        "basis/stored_bytes": basis["stored_bytes"],
    }
    if (addition := result["protocols"].get("addition")) is not None:
        numbers |= {
            "addition/test/top1": addition["top1"],
            "addition/test/normalized_top1": addition["normalized_top1"],
            "addition/val/top1": mean_top1(chosen_point(addition["search"])["tasks"]),
            "addition/val/normalized_top1": addition["search"]["normalized_top1"],
            "addition/alpha": addition["search"]["alpha"],
            "addition/merged_norm": addition["search"]["merged_norm"],
        }
    if (negation := result["protocols"].get("negation")) is not None:
        numbers |= {
            "negation/val/target_top1": mean_top1(
                {name: chosen_point(task)["target"] for name, task in negation["tasks"].items()}
            ),
            "negation/test/target_top1": negation["target_top1"],
            "negation/test/control_top1": negation["control_top1"],
        }
    return numbers


def per_task(result: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Column names and rows of test accuracies, one row per task."""
    zero, fine = test_counts(result, "zeroshot"), test_counts(result, "finetuned")
    columns = ["task", "zeroshot/top1", "finetuned/top1"]
    rows: list[list[Any]] = [
        [task, top1(zero[task]), top1(fine[task]) if fine else None] for task in result["tasks"]
    ]
    if "addition" in result["protocols"]:
        columns += ["addition/top1", "addition/normalized_top1"]
        for row, merged in zip(rows, test_counts(result, "addition").values(), strict=True):
            row += [top1(merged), ratio(merged, fine[row[0]]) if fine else None]
    if (negation := result["protocols"].get("negation")) is not None:
        columns += ["negation/alpha", "negation/target_top1", "negation/control_top1"]
        for row in rows:
            task = negation["tasks"][row[0]]
            row += [task["alpha"], top1(task["target"]), top1(task["control"])]
    return columns, rows
