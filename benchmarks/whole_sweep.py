"""The sweep of README's kind from an empty store: is each part done once, and what does sweeping cost?

    python benchmarks/whole_sweep.py             54 jobs over fourteen tasks, twice
    python benchmarks/whole_sweep.py --smoke     the same with two tasks and twenty training steps

The sweep is carried out twice, each time from an empty store: once as it is, and once killed at a moment that
is drawn and launched again. Prints, and writes as benchmarks/results/whole_sweep.json, its wall time against
the sum of the stages that were carried out, how often each model was fine-tuned, and whether both ended with
the same results.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from taskbasis.store.store import versions

SWEEP = ["basis=ae,pca,random_sample", "M=2,4,7", "scenario=8,14", "seed=0,1,2", "finetune.seed=0"]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="an empty folder to keep what is made")
    parser.add_argument("--smoke", action="store_true", help="two tasks and twenty training steps")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/whole_sweep.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = options.root or Path(name)
        smoke = ["+smoke=true"] * options.smoke
        found = measured(root / "whole", smoke)
        found |= interrupted(root / "killed", smoke, after=random.uniform(0.05, 0.6) * found["wall_seconds"])
        found["same_results"] = results(root / "whole") == results(root / "killed")
    text = json.dumps(found | {"sweep": SWEEP + smoke, "versions": versions()}, indent=1)
    print(text)
    options.out.write_text(text + "\n")


def measured(root: Path, more: list[str]) -> dict[str, Any]:
    """The sweep from beginning to end."""
    began = time.perf_counter()
    subprocess.run(command(root, more), check=True)
    wall = time.perf_counter() - began
    runs = [json.loads(path.read_text())["run"] for path in root.glob("runs/*/result.json")]
    stages = sum(sum(run["seconds"].values()) for run in runs)
    trained = fine_tunings(root)
    return {
        "jobs": len(runs),
        "fine_tunings": sum(trained.values()),
        "most_fine_tunings_of_one_model": max(trained.values()),
        "wall_seconds": round(wall, 1),
        "stage_seconds": round(stages, 1),
        "wall_over_stages": round(wall / stages, 3),
    }


def interrupted(root: Path, more: list[str], after: float) -> dict[str, Any]:
    """The sweep, killed after some seconds and launched again."""
    process = subprocess.Popen(command(root, more), start_new_session=True)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in root.glob("store/*/*/*") if path.is_file()}
    subprocess.run(command(root, more), check=True)
    made_again = [path for path, when in before.items() if path.stat().st_mtime_ns != when]
    return {"killed_after_seconds": round(after, 1), "stored_files_made_again": len(made_again)}


def command(root: Path, more: list[str]) -> list[str]:
    """The command line of the sweep."""
    places = [f"paths.root={root}", "trainer=cpu", "tracker=none"]
    return [sys.executable, "-m", "taskbasis.run", "-m", *SWEEP, *more, *places]


def fine_tunings(root: Path) -> dict[str, int]:
    """How often each task was fine-tuned, by all jobs together."""
    found: Counter[str] = Counter()
    for path in root.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        found.update(set(result["tasks"]) - set(result["run"]["reused"]["finetuned"]))
    return found


def results(root: Path) -> dict[str, Any]:
    """All results without what is said about the run itself."""
    found = (json.loads(path.read_text()) for path in root.glob("runs/*/result.json"))
    return {result["run"]["id"]: {k: v for k, v in result.items() if k != "run"} for result in found}


if __name__ == "__main__":
    main()
