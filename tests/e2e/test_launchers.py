"""Sweeps with several jobs at once on one store: results as one after the other, nothing done twice."""

import json

import pytest

from taskbasis.store import Store

pytestmark = pytest.mark.e2e
LINE = [
    "-m",
    "basis=exact,random_sample",
    "M=1,8",
    "+smoke=true",
    "search.points=3",
    "tracker=none",
    "trainer=cpu",
]


def results(folder):
    found = [json.loads(path.read_text()) for path in folder.glob("*/result.json")]
    return {r["run"]["id"]: {k: v for k, v in r.items() if k != "run"} for r in found}


def artifacts(store, stage):
    return {path.parent for path in store.glob(f"{stage}/[!.]*/manifest.json")}


@pytest.mark.parametrize(
    ("launcher", "options"),
    [
        ("joblib", ["hydra.launcher.n_jobs=4"]),
        ("submitit_local", ["hydra.launcher.timeout_min=10"]),
        ("ray", ["+hydra.launcher.ray.init.num_cpus=2", "trainer.workers=1"]),
    ],
)
def test_parallel_jobs_share_one_store(command, small_store, run_small, tmp_path, launcher, options):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher", reason="an optional extra")
    seed = f"finetune.seed={20 + len(launcher)}"
    known = artifacts(small_store, "finetuned")
    place = f"paths.store={small_store}"
    line = [*LINE, seed, place, f"hydra/launcher={launcher}", *options]
    # Ray leaves a token in the home folder.
    home = {"HOME": str(tmp_path)} if launcher == "ray" else None
    done = command(*line, cwd=tmp_path, environment=home, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 completed" in done.stdout
    assert len(artifacts(small_store, "finetuned") - known) == 2
    parallel = results(tmp_path / "outputs" / "runs")
    assert len(parallel) == 4
    for name, result in parallel.items():
        kept = [o for o in result["overrides"] if "smoke" not in o]
        serial = run_small(*kept, runs=tmp_path / "serial")
        assert serial["run"]["id"] == name
        assert {k: v for k, v in serial.items() if k not in ("run", "overrides")} == {
            k: v for k, v in result.items() if k != "overrides"
        }
    assert Store(small_store).verify()[1] == []
