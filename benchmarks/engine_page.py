"""The tables of docs/performance.md from the numbers of ``benchmarks/engine.py``.

python benchmarks/engine_page.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pages import markdown, replace_measured

RESULTS = Path("benchmarks/results")
MAIN = "engine-vit-b-32-T20"
LABELS = {
    "floor": "read every file and subtract: the floor",
    "hash": "XXH3 of every file",
    "sha256": "SHA-256 of every file",
    "gram": "Gram matrix",
    "gram and hash": "Gram matrix and XXH3",
    "gram and sha256": "Gram matrix and SHA-256",
    "atoms": "write M = 10 atoms",
    "merged model": "write one merged model",
    "compress Autoencoder": "`compress basis=ae M=10`",
    "compress Autoencoder, hash=sha256": "`compress basis=ae M=10 hash=sha256`",
    "compress Autoencoder, hash=null": "`compress basis=ae M=10 hash=null`",
    "compress Exact": "`compress basis=exact M=10`",
    "compress PCA": "`compress basis=pca M=10`",
    "compress RandomSample": "`compress basis=random_sample M=10`",
    "compress RandomOrthonormal": "`compress basis=random M=10`",
    "in memory, loops": "the published code's way, in memory",
    "in memory, dense": "one dense matrix, in memory",
}
MAIN_M = 10
NOT_OURS = ("floor", "in memory, loops", "in memory, dense")
WHOLE = {"taskbasis.merge": "`python -m taskbasis.merge`", "mergekit": "mergekit 0.1.5, `task_arithmetic`"}


def times(steps: dict[str, Any]) -> str:
    """Seconds of every step, as multiples of the floor, and memory."""
    floor = steps["floor"]["wall"]
    rows = [
        [label, *(f"{x:.1f}" for x in (s["wall"], s["wall"] / floor, s["cpu"])), f"{s['anonymous GiB']:.2f}"]
        for name, label in LABELS.items()
        if (s := steps.get(name))
    ]
    return markdown(["step", "seconds", "times the floor", "processor seconds", "peak anonymous GiB"], rows)


def ratios(steps: dict[str, Any]) -> str:
    """What was aimed at, as far as this run measured it."""
    wall = {name: s.get("wall", s.get("process")) for name, s in steps.items() if name != "deviations"}
    pairs = [
        ("Gram matrix / floor", "gram", ["floor"], "≤ 4"),
        ("Gram matrix and XXH3 / the longer of the two", "gram and hash", ["gram", "hash"], "≤ 1.3"),
        ("Gram matrix and SHA-256 / the longer of the two", "gram and sha256", ["gram", "sha256"], ""),
        ("published way / `compress basis=ae`", "in memory, loops", ["compress Autoencoder"], "≥ 5"),
        (
            "published way / `compress basis=ae hash=sha256`",
            "in memory, loops",
            ["compress Autoencoder, hash=sha256"],
            "",
        ),
        ("`compress basis=ae` / `compress basis=pca`", "compress Autoencoder", ["compress PCA"], "1"),
        ("dense matrix / `compress basis=ae`", "in memory, dense", ["compress Autoencoder"], ""),
        ("mergekit / `taskbasis.merge`", "mergekit", ["taskbasis.merge"], "≥ 3"),
    ]
    rows = [
        [label, f"{wall[over] / max(wall[name] for name in under):.2f}", aim]
        for label, over, under, aim in pairs
        if all(wall.get(name) for name in (over, *under))
    ]
    return markdown(["ratio of seconds", "measured", "aimed at"], rows)


def whole_commands(steps: dict[str, Any]) -> str:
    """Task arithmetic by commands, from start to end, imports included."""
    rows = [
        [label, f"{s['process']:.1f}", f"{s['anonymous GiB']:.2f}"]
        for name, label in WHOLE.items()
        if (s := steps.get(name)) and "process" in s
    ]
    return markdown(["command", "seconds", "peak anonymous GiB"], rows)


def memory(files: list[Path]) -> str:
    """The largest anonymous memory of any of our steps at each size."""
    rows = []
    for file in files:
        found = json.loads(file.read_text())
        ours = {k: s["anonymous GiB"] for k, s in found["steps"].items() if k in LABELS and k not in NOT_OURS}
        worst = max(ours, key=lambda name: ours[name])
        where = LABELS[worst].replace(f"M={MAIN_M}", "M=T/2")
        rows.append((found["size"], found["tasks"], f"{ours[worst]:.2f}", where))
    return markdown(["size", "T", "peak anonymous GiB", "in"], [[*map(str, row)] for row in sorted(rows)])


def main() -> None:
    """Write the page."""
    main_run = json.loads((RESULTS / f"{MAIN}.json").read_text())
    steps = main_run["steps"]
    hardware, versions = main_run["hardware"], main_run["versions"]
    text = [
        f"{hardware['processor']}, {hardware['processors']} processors; torch {versions['torch']}; "
        f"best of {main_run['rounds']} round(s); load average before them {hardware['load']:.1f}.",
        times(steps),
        ratios(steps),
        "Task arithmetic from start to end of the command, imports included:",
        whole_commands(steps),
        "Peak memory of our steps at all sizes that were run:",
        memory(sorted(RESULTS.glob("engine-*.json"))),
        "Largest distance ‖Δ‖_F/‖·‖_F of a written tensor from dense float64 arithmetic, over samples: "
        + ", ".join(f"{name} {value:.1e}" for name, value in steps["deviations"].items())
        + ".",
    ]
    replace_measured(Path("docs/performance.md"), "\n\n".join(text))


if __name__ == "__main__":
    main()
