"""Basis methods on the mini suite: methods × M × T over fine-tuning and basis seeds, addition and negation.

    python benchmarks/mini_results.py [--root outputs] [--finetune-seeds 3] [--basis-seeds 3]

Negation, which takes longest, is run with the first seeds, for T = 8 and 14 only. Writes the tables into
docs/mini-results.md and all numbers to benchmarks/results/mini_results.json. Trained models and scores that
are in the store are used again, so the script can be stopped and started.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mini_runs import arguments, result
from pages import markdown, replace_measured, spread

from taskbasis.store.store import versions

SCENARIOS = (8, 14, 20)
NEGATED = (8, 14)
"""Scenarios with negation too."""
SHARES = ("T/4", "T/2")
METHODS = ("ae", "exact", "pca", "random_sample", "random")
SEEDED = ("ae", "random_sample")
"""Methods that are run with every basis seed; random directions lead nowhere whatever their seed."""

Row = dict[str, Any]


def row(options: argparse.Namespace, T: int, method: str, share: str | None, f: int, s: int) -> Row:
    """One run: its settings and numbers."""
    settings = [f"scenario={T}", f"basis={method}", f"finetune.seed={f}", f"seed={s}"]
    negated = f == s == 0 and T in NEGATED
    settings.append("evaluation=all" if negated else "evaluation=addition")
    settings += ["+smoke=true"] * options.smoke
    found = result(options.root, *settings, *([f"M={share}"] if share else []))
    addition = found["protocols"]["addition"]
    numbers = {
        "T": T,
        "method": method,
        "share": share,
        "finetune_seed": f,
        "basis_seed": s,
        "M": found["basis"]["M"],
        "top1": addition["top1"],
        "normalized": addition["normalized_top1"],
        "alpha": addition["search"]["alpha"],
        "relative_error": found["basis"]["relative_error"],
        "stored_bytes": found["basis"]["stored_bytes"],
    }
    if negation := found["protocols"].get("negation"):
        numbers |= {
            "target": negation["target_top1"],
            "control": negation["control_top1"],
            "control_passes": negation["control_passes"],
            "grid_control_passes": negation["grid_control_passes"],
        }
    print(json.dumps(numbers), flush=True)
    return numbers


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Every run of the table."""
    for T in SCENARIOS:
        for f in range(options.finetune_seeds):
            yield row(options, T, "none", None, f, 0)
            for method in METHODS:
                for s in range(options.basis_seeds if method in SEEDED else 1):
                    for share in SHARES:
                        yield row(options, T, method, share, f, s)


def table(found: list[Row], key: str) -> str:
    """Methods down, scenario and M across; mean ± standard deviation over all seeds."""
    columns = [(T, share) for T in SCENARIOS for share in SHARES]
    header = ["method", *(f"T={T}, M={share}" for T, share in columns)]
    lines = []
    for method in ("none", *METHODS):
        cells = []
        for T, share in columns:
            rows = [r for r in found if r["method"] == method and r["T"] == T and r["share"] in (share, None)]
            values = [r[key] for r in rows if key in r]
            cells.append(spread(values) if values else "–")
        lines.append([f"`{method}`", *cells])
    seeds = [len({r["finetune_seed"] for r in found if r["T"] == T and key in r}) for T, _ in columns]
    lines.append(["fine-tuning seeds", *map(str, seeds)])
    return markdown(header, lines)


def main() -> None:
    """Run and write."""
    parser = arguments(__doc__)
    parser.add_argument("--finetune-seeds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--basis-seeds", type=int, default=3, help="for methods that have one (%(default)s)")
    options = parser.parse_args()
    found: list[Row] = []
    for new in rows(options):
        found.append(new)
        write(found)


def write(found: list[Row]) -> None:
    """The tables of the runs so far, and all their numbers."""
    titles = {
        "normalized": "Addition: normalised test accuracy, %",
        "top1": "Addition: test accuracy, %",
        "target": "Negation: test accuracy on the forgotten task, % (lower is better)",
        "control": "Negation: test accuracy on the control, %",
        "relative_error": "Relative reconstruction error, %",
    }
    passes, grid = (sum(r.get(k, 0) for r in found) for k in ("control_passes", "grid_control_passes"))
    text = "\n\n".join(f"### {title}\n\n{table(found, key)}" for key, title in titles.items())
    text += f"\n\nControl passes of all negations: {passes} of the {grid} that whole grids would take."
    replace_measured(Path("docs/mini-results.md"), text)
    numbers = {"runs": found, "versions": versions()}
    Path("benchmarks/results/mini_results.json").write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
