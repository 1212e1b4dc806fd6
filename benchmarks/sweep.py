"""What a job of a large sweep costs beyond its own work, and whether memory grows from job to job.

The sweep is synthetic: random_sample bases of two tasks with a seed each, so that after the first jobs nearly
everything is in the store and what remains is what every job pays. It is the real command, in one process,
watched from outside. Launch: python benchmarks/sweep.py [--jobs 500] [--out benchmarks/results/sweep.json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from processes import anonymous, processor, processor_seconds
from rich.console import Console
from rich.table import Table

TRACKERS = {"none": ["tracker=none"], "W&B offline": ["tracker=wandb", "tracker.mode=offline"]}
SETTLED = 0.2
"""Share of the jobs after which memory should not grow any more."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--trackers", nargs="+", default=list(TRACKERS), choices=list(TRACKERS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"jobs": options.jobs, "processor": processor(), "cores": os.cpu_count()}
    for tracker in options.trackers:
        with tempfile.TemporaryDirectory() as folder:
            load = os.getloadavg()[0]
            found[tracker] = measured(Path(folder), options.jobs, TRACKERS[tracker]) | {"load before": load}
    Console().print(table(found, options.trackers))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def measured(folder: Path, jobs: int, tracker: list[str]) -> dict[str, Any]:
    """One sweep of ``jobs`` jobs: seconds per job beyond its stages, and memory."""
    line = [sys.executable, "-m", "taskbasis.run", "-m", "+smoke=true", "basis=random_sample", "M=1"]
    line += [f"seed=range({jobs})", "search.points=3", "trainer=cpu", "trainer.workers=1", *tracker]
    begun = time.time()
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(line, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        memory, seconds = watch(process, folder)
    if process.returncode:
        sys.exit((folder / "output").read_text()[-2000:])
    ended = time.time()
    ends, overheads, own = [], [], 0.0
    for path in sorted(folder.glob("outputs/sweeps/*/jobs/*.json")):
        run = json.loads(path.read_text())["run"]
        result = json.loads((folder / "outputs" / "runs" / run / "result.json").read_text())
        ends.append(path.stat().st_mtime)
        stages = sum(result["run"]["seconds"].values())
        if len(ends) > 1:
            own += stages
            overheads.append(ends[-1] - ends[-2] - stages)
    settled = memory[int(SETTLED * len(memory)) :]
    slope, _ = statistics.linear_regression(range(len(settled)), settled)
    return {
        "wall_s": round(ended - begun, 1),
        "before_first_job_s": round(ends[0] - begun, 1),
        "after_last_job_s": round(ended - ends[-1], 1),
        "overhead_median_s": round(statistics.median(overheads), 3),
        "overhead_p95_s": round(statistics.quantiles(overheads, n=20)[-1], 3),
        "overhead_first_half_s": round(statistics.median(overheads[: len(overheads) // 2]), 3),
        "overhead_second_half_s": round(statistics.median(overheads[len(overheads) // 2 :]), 3),
        "processor_per_job_s": round((seconds[-1] - seconds[0]) / len(overheads), 3),
        "stages_per_job_s": round(own / len(overheads), 3),
        "memory_settled_MiB": round(settled[0] / 2**20, 1),
        "memory_end_MiB": round(settled[-1] / 2**20, 1),
        "memory_growth_KiB_per_job": round(slope / 2**10, 1),
    }


def watch(process: subprocess.Popen[bytes], folder: Path) -> tuple[list[float], list[float]]:
    """Anonymous memory of a sweep's process, and its seconds of processor time, when each job ends."""
    memory: list[float] = []
    seconds: list[float] = []
    while process.poll() is None:
        done = len(list(folder.glob("outputs/runs/*/result.json")))
        if done > len(memory):
            more = done - len(memory)
            memory += [float(anonymous(process.pid))] * more
            seconds += [processor_seconds(process.pid)] * more
        time.sleep(0.02)
    return memory, seconds


def table(found: dict[str, Any], trackers: list[str]) -> Table:
    """The figures, a column for each tracker."""
    shown = Table(title=f"{found['jobs']} jobs in one process")
    shown.add_column("")
    for tracker in trackers:
        shown.add_column(f"tracker: {tracker}", justify="right")
    for figure in found[trackers[0]]:
        shown.add_row(figure, *(str(found[tracker][figure]) for tracker in trackers))
    return shown


if __name__ == "__main__":
    main()
