"""The benchmark of the GPU runs anywhere, in a small setting, and writes what it should."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_benchmark_runs_on_the_tiny_model(tmp_path):
    small = ["--steps", "6", "--batch", "16", "--search-images", "8", "--gram-tasks", "2", "--repeats", "1"]
    out = ["--models", "tiny", "--out", str(tmp_path / "gpu.json")]
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), *small, *out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    (numbers,) = json.loads((tmp_path / "gpu.json").read_text())["models"].values()
    assert min(numbers["images_per_second"].values()) > 0
    assert set(numbers["search"]) == {"8", "14", "20"}
    assert numbers["bare_over_ours"] > 0
