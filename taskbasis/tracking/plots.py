"""Plots of a run, made from its ``result.json`` alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe–Ito: distinguishable with colour blindness and in print.
ZEROSHOT, FINETUNED, MERGED = "#999999", "#0072B2", "#D55E00"


def write_plots(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the plots of a completed run as PNG files into ``folder``; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw, size in (
        ("alpha_curve", alpha_curve, (6.0, 4.0)),
        ("per_task", per_task, (max(6.0, 0.6 * len(result["tasks"]) + 2), 4.0)),
        ("cosines", cosines, (6.5, 5.5)),
    ):
        figure = Figure(figsize=size, layout="constrained")
        draw(result, figure.add_subplot())
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=120)
        paths.append(path)
    return paths


def alpha_curve(result: Mapping[str, Any], axes: Axes) -> None:
    """Validation accuracy against α: each task thin, the mean bold, the chosen α marked."""
    search = result["protocols"]["addition"]["search"]
    alphas = [point["alpha"] for point in search["curve"]]
    rows = {task: [_top1(p["tasks"][task]) for p in search["curve"]] for task in result["tasks"]}
    for values in rows.values():
        axes.plot(alphas, values, color=ZEROSHOT, linewidth=0.7, alpha=0.7)
    mean = [sum(values) / len(rows) for values in zip(*rows.values(), strict=True)]
    axes.plot(alphas, mean, color=MERGED, linewidth=2.5, marker=".", label="mean of tasks")
    axes.axvline(search["alpha"], color=FINETUNED, linestyle="--", label=f"chosen α = {search['alpha']:g}")
    axes.set(xlabel="scaling coefficient α", ylabel="validation top-1", title=result["run"]["id"])
    axes.legend()


def per_task(result: Mapping[str, Any], axes: Axes) -> None:
    """Test accuracy of the zero-shot, merged and fine-tuned models, task by task."""
    tasks = result["tasks"]
    test = result["protocols"]["addition"]["test"]
    series = (
        ("zero-shot", ZEROSHOT, [_top1(result["single"]["zeroshot"][t]["test"]) for t in tasks]),
        ("merged", MERGED, [_top1(test[t]) for t in tasks]),
        ("fine-tuned", FINETUNED, [_top1(result["single"]["finetuned"][t]["test"]) for t in tasks]),
    )
    for offset, (label, colour, values) in zip((-0.27, 0.0, 0.27), series, strict=True):
        axes.bar([i + offset for i in range(len(tasks))], values, 0.27, label=label, color=colour)
    axes.set_xticks(range(len(tasks)), tasks, rotation=45, ha="right")
    axes.set(ylabel="test top-1", ylim=(0, 1), title=result["run"]["id"])
    axes.legend(loc="lower right")


def cosines(result: Mapping[str, Any], axes: Axes) -> None:
    """Cosines between the task vectors."""
    tasks, matrix = result["tasks"], result["gram"]["cosines"]
    others = [abs(v) for i, row in enumerate(matrix) for j, v in enumerate(row) if i != j]
    limit = max([*others, 0.05])
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_xticks(range(len(tasks)), tasks, rotation=90)
    axes.set_yticks(range(len(tasks)), tasks)
    axes.set_title("cosines between task vectors (1 on the diagonal)")
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes)


def _top1(count: Mapping[str, int]) -> float:
    return count["correct"] / count["n"]
