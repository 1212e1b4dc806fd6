"""The scripts that the documentation names for its figures run, in their smoke forms."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.e2e


@pytest.fixture
def script(tmp_path):
    """Runs a script in a folder that has the pages it writes to, and nothing else."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)

    def run(name, *arguments):
        done = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return tmp_path

    return run


def test_tables_of_the_mini_suite(script):
    folder = script("mini_suite", "--smoke", "--seeds", "1")
    numbers = json.loads((folder / "benchmarks/results/mini_suite.json").read_text())
    assert [row["task"] for row in numbers["tasks"]] == ["handwriting", "charts"]
    page = (folder / "docs" / "mini-suite.md").read_text()
    assert "| 2 | charts |" in page
    assert "| 3 | letters |" not in page
    folder = script("mini_results", "--smoke", "--finetune-seeds", "1", "--basis-seeds", "1")
    runs = json.loads((folder / "benchmarks/results/mini_results.json").read_text())["runs"]
    assert {r["method"] for r in runs} == {"none", "ae", "exact", "pca", "random_sample", "random"}
    assert "| `exact` |" in (folder / "docs" / "mini-results.md").read_text()


def test_tables_of_the_engine(script):
    steps = ["floor", "hash", "gram", "gram and hash", "merged model", "compress Autoencoder"]
    small = ["--size", "tiny", "--tasks", "3", "--rounds", "1", "--only", *steps]
    out = "benchmarks/results/engine-vit-b-32-T20.json"
    folder = script("engine", "--folder", "checkpoints", *small, "--out", out)
    found = json.loads((folder / out).read_text())["steps"]
    assert {*steps, "taskbasis.merge", "deviations"} == set(found)
    assert max(found["deviations"].values()) < 1e-6
    script_page = (script("engine_page") / "docs" / "performance.md").read_text()
    assert "| Gram matrix |" in script_page
    assert "| Gram matrix / floor |" in script_page
    assert "| Gram matrix and XXH3 / the longer of the two |" in script_page
    assert "mergekit 0.1.5" not in script_page.split("measured: begin")[1].split("measured: end")[0]


def test_overhead_of_a_sweep(script):
    out = "benchmarks/results/sweep.json"
    found = json.loads((script("sweep", "--jobs", "6", "--trackers", "none", "--out", out) / out).read_text())
    assert found["jobs"] == 6
    assert found["none"]["memory_end_MiB"] > 0
    assert found["none"]["stages_per_job_s"] < found["none"]["wall_s"]


def test_two_measurements_in_one_folder_are_refused(tmp_path):
    with FileLock(tmp_path / ".lock"):
        done = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "engine.py"), "--folder", str(tmp_path)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode != 0
    assert f"another run measures in {tmp_path}" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_pretraining_of_the_tiny_model(tmp_path):
    from taskbasis.models.tiny import load_tiny
    from taskbasis.models.tiny.pretrain import main

    out = tmp_path / "tiny.safetensors"
    small = ["--drawings", "64", "--steps", "2", "--batch", "16", "--warmup", "1", "--processes", "1"]
    main(["--out", str(out), *small])
    model, tokenizer = load_tiny(out)
    assert model.encode_text(tokenizer(["a circle."])).shape == (1, 64)
