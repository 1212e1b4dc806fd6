"""Plots of a run, made from its ``result.json`` alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from taskbasis.tracking.results import has_finetuned, test_counts, top1

# Okabe–Ito: distinguishable with colour blindness and in print.
GREY, BLUE, RED, GREEN = "#999999", "#0072B2", "#D55E00", "#009E73"

Draw = Callable[[Mapping[str, Any], Axes], None]


def write_plots(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the plots of a completed run as PNG files into ``folder``; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    width = max(6.0, 0.6 * len(result["tasks"]) + 2)
    plots: dict[str, tuple[Draw, tuple[float, float]]] = {
        "cosines": (cosines, (6.5, 5.5)),
        "spectrum": (spectrum, (6.0, 4.0)),
        "encoder": (encoder, (max(4.0, 0.45 * result["basis"]["M"] + 3), 5.5)),
        "row_sums": (row_sums, (width, 4.0)),
    }
    if "addition" in result["protocols"]:
        plots |= {"alpha_curve": (alpha_curve, (6.0, 4.0)), "per_task": (per_task, (width, 4.0))}
    if "negation" in result["protocols"]:
        plots |= {"negation": (negation, (width, 4.0))}
    paths = []
    for name, (draw, size) in plots.items():
        figure = Figure(figsize=size, layout="constrained")
        draw(result, figure.add_subplot())
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=120)
    return paths


def alpha_curve(result: Mapping[str, Any], axes: Axes) -> None:
    """Validation accuracy against α: each task thin, the mean bold, the chosen α marked."""
    search = result["protocols"]["addition"]["search"]
    alphas = [point["alpha"] for point in search["curve"]]
    rows = {task: [top1(p["tasks"][task]) for p in search["curve"]] for task in result["tasks"]}
    for values in rows.values():
        axes.plot(alphas, values, color=GREY, linewidth=0.7, alpha=0.7)
    mean = [sum(values) / len(rows) for values in zip(*rows.values(), strict=True)]
    axes.plot(alphas, mean, color=RED, linewidth=2.5, marker=".", label="mean of tasks")
    axes.axvline(search["alpha"], color=BLUE, linestyle="--", label=f"chosen α = {search['alpha']:g}")
    axes.set(xlabel="scaling coefficient α", ylabel="validation top-1", title=result["run"]["id"])
    axes.legend()


def per_task(result: Mapping[str, Any], axes: Axes) -> None:
    """Test accuracy of the zero-shot, merged and fine-tuned models, task by task."""
    kinds = [("zero-shot", GREY, "zeroshot"), ("merged", RED, "addition"), ("fine-tuned", BLUE, "finetuned")]
    kinds = kinds if has_finetuned(result) else kinds[:2]
    series = {label: (c, list(map(top1, test_counts(result, kind).values()))) for label, c, kind in kinds}
    _bars(result, axes, series, "test top-1")
    axes.set_ylim(0, 1)


def negation(result: Mapping[str, Any], axes: Axes) -> None:
    """Test accuracy on each forgotten task and on the control, with the zero-shot model's beside it."""
    outcome = result["protocols"]["negation"]
    tasks = [outcome["tasks"][task] for task in result["tasks"]]
    series = {
        "zero-shot": (GREY, list(map(top1, test_counts(result, "zeroshot").values()))),
        "after negation": (RED, [top1(task["target"]) for task in tasks]),
        f"control ({outcome['control']})": (GREEN, [top1(task["control"]) for task in tasks]),
    }
    _bars(result, axes, series, "test top-1")
    kept = outcome["threshold"] * top1(outcome["control_zeroshot"]["test"])
    axes.axhline(kept, color=GREEN, linestyle="--", linewidth=1)
    axes.set_ylim(0, 1)


def cosines(result: Mapping[str, Any], axes: Axes) -> None:
    """Cosines between the task vectors."""
    tasks, matrix = result["tasks"], result["gram"]["cosines"]
    others = [abs(v) for i, row in enumerate(matrix) for j, v in enumerate(row) if i != j]
    limit = max([*others, 0.05])
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_xticks(range(len(tasks)), tasks, rotation=90)
    axes.set_yticks(range(len(tasks)), tasks)
    axes.set_title("cosines between task vectors (1 on the diagonal)")
    axes.get_figure().colorbar(image, ax=axes)  # type: ignore[union-attr]


def spectrum(result: Mapping[str, Any], axes: Axes) -> None:
    """The rank-M bound for every M, from the spectrum of the Gram matrix, and the loss of this basis."""
    basis, values = result["basis"], result["gram"]["spectrum"]
    bounds = [sum(values[M:]) / len(values) ** 2 for M in range(1, len(values) + 1)]
    axes.plot(range(1, len(values) + 1), bounds, color=GREY, marker=".", label="spectral bound")
    if basis["loss"] is not None and (basis["stored_vectors"] or basis["loss"] < 2 * max(bounds)):
        axes.plot(basis["M"], basis["loss"], "o", color=RED, label=f"{basis['method']}, M = {basis['M']}")
    axes.set(xlabel="atoms M", ylabel="loss", title=result["run"]["id"])
    axes.legend()


def encoder(result: Mapping[str, Any], axes: Axes) -> None:
    """The basis encoder: how much of each source is in each atom."""
    basis = result["basis"]
    limit = max((abs(v) for row in basis["encoder"] for v in row), default=1.0) or 1.0
    image = axes.imshow(basis["encoder"], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_yticks(range(len(basis["sources"])), basis["sources"])
    axes.set(xlabel="atom", title=f"basis encoder, {basis['method']}")
    axes.get_figure().colorbar(image, ax=axes)  # type: ignore[union-attr]


def row_sums(result: Mapping[str, Any], axes: Axes) -> None:
    """How much of each source the summed atoms hold."""
    basis = result["basis"]
    axes.bar(range(len(basis["sources"])), basis["row_sums"], color=BLUE)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(basis["sources"])), basis["sources"], rotation=45, ha="right")
    axes.set(ylabel="row sum of the basis encoder", title=result["run"]["id"])


def _bars(
    result: Mapping[str, Any], axes: Axes, series: Mapping[str, tuple[str, list[float]]], label: str
) -> None:
    tasks = result["tasks"]
    for offset, (name, (colour, values)) in zip((-0.27, 0.0, 0.27), series.items(), strict=False):
        axes.bar([i + offset for i in range(len(tasks))], values, 0.27, label=name, color=colour)
    axes.set_xticks(range(len(tasks)), tasks, rotation=45, ha="right")
    axes.set(ylabel=label, title=result["run"]["id"])
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
