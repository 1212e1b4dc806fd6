"""The table of the mini suite: every task and the three scenarios, over fine-tuning seeds.

    python benchmarks/mini_suite.py [--root outputs] [--seeds 3]

Writes the tables into docs/mini-suite.md and all numbers to benchmarks/results/mini_suite.json.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from mini_runs import arguments, result
from pages import markdown, replace_measured, spread

from taskbasis.data.mini import TASKS
from taskbasis.store.store import versions
from taskbasis.tracking.results import mean_top1, test_counts, top1

SCENARIOS = (8, 14, 20)
CLASSES = {task.name: len(task.classes) for task in TASKS}


def standard_error(accuracy: float, n: int) -> float:
    """Of one accuracy over n images."""
    return (accuracy * (1 - accuracy) / n) ** 0.5


def per_task(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chance, zero-shot and fine-tuned test accuracy of every task, with standard errors."""
    rows = []
    for task in runs[0]["tasks"]:
        zero = test_counts(runs[0], "zeroshot")[task]
        fine = [top1(test_counts(r, "finetuned")[task]) for r in runs]
        rows.append(
            {
                "task": task,
                "chance": 1 / CLASSES[task],
                "zeroshot": top1(zero),
                "zeroshot_se": standard_error(top1(zero), zero["n"]),
                "finetuned": statistics.mean(fine),
                "finetuned_se": standard_error(statistics.mean(fine), zero["n"]),
                "finetuned_std": statistics.stdev(fine) if len(fine) > 1 else 0.0,
            }
        )
    return rows


def per_scenario(T: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Zero-shot, fine-tuned and task arithmetic of one scenario, a list over seeds each."""
    numbers: dict[str, Any] = {"T": T}
    numbers["zeroshot"] = [mean_top1(test_counts(r, "zeroshot")) for r in runs]
    numbers["finetuned"] = [mean_top1(test_counts(r, "finetuned")) for r in runs]
    numbers["merged"] = [r["protocols"]["addition"]["top1"] for r in runs]
    numbers["normalized"] = [r["protocols"]["addition"]["normalized_top1"] for r in runs]
    numbers["zeroshot_normalized"] = [zeroshot_normalized(r) for r in runs]
    numbers["recovered_gap"] = [
        (m - z) / (1 - z) for m, z in zip(numbers["normalized"], numbers["zeroshot_normalized"], strict=True)
    ]
    numbers["alpha"] = [r["protocols"]["addition"]["search"]["alpha"] for r in runs]
    return numbers


def zeroshot_normalized(run: dict[str, Any]) -> float:
    """Mean over tasks of zero-shot divided by fine-tuned test accuracy."""
    zero, fine = test_counts(run, "zeroshot"), test_counts(run, "finetuned")
    return statistics.mean(top1(zero[t]) / top1(fine[t]) for t in run["tasks"])


def tables(tasks: list[dict[str, Any]], scenarios: list[dict[str, Any]], seeds: int) -> str:
    """Both tables as Markdown."""
    rows = [
        [
            str(i + 1),
            row["task"],
            f"{100 * row['chance']:.1f}",
            f"{100 * row['zeroshot']:.1f} ± {100 * row['zeroshot_se']:.1f}",
            f"{100 * row['finetuned']:.1f} ± {100 * row['finetuned_se']:.1f}",
            f"{100 * row['finetuned_std']:.1f}",
        ]
        for i, row in enumerate(tasks)
    ]
    means = [f"{100 * statistics.mean(r[k] for r in tasks):.1f}" for k in ("chance", "zeroshot", "finetuned")]
    rows.append(["", "**mean**", *means, ""])
    first = markdown(["", "task", "chance", "zero-shot", "fine-tuned", f"std over {seeds} seeds"], rows)
    header = [
        "T",
        "zero-shot",
        "fine-tuned",
        "task arithmetic",
        "zero-shot, normalised",
        "task arithmetic, normalised",
        "recovered gap",
        "α",
    ]
    keys = ("zeroshot", "finetuned", "merged", "zeroshot_normalized", "normalized", "recovered_gap")
    second = markdown(
        header,
        [
            [str(s["T"]), *(spread(s[k]) for k in keys), ", ".join(f"{a:g}" for a in s["alpha"])]
            for s in scenarios
        ],
    )
    return f"{first}\n\n{second}"


def main() -> None:
    """Run and write."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="fine-tuning seeds (%(default)s)")
    options = parser.parse_args()
    smoke = ["+smoke=true"] * options.smoke
    runs = {
        (T, seed): result(
            options.root,
            "basis=none",
            f"scenario={T}",
            f"finetune.seed={seed}",
            *smoke,
        )
        for seed in range(options.seeds)
        for T in reversed(SCENARIOS)
    }
    tasks = per_task([runs[20, seed] for seed in range(options.seeds)])
    scenarios = [per_scenario(T, [runs[T, seed] for seed in range(options.seeds)]) for T in SCENARIOS]
    text = tables(tasks, scenarios, options.seeds)
    print(text)
    replace_measured(Path("docs/mini-suite.md"), text)
    numbers = {"tasks": tasks, "scenarios": scenarios, "seeds": options.seeds, "versions": versions()}
    Path("benchmarks/results/mini_suite.json").write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
