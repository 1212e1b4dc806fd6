"""Sweeps that choose their jobs by the validation scores of earlier ones, through the real command."""

import json

import pytest
from omegaconf import OmegaConf

from taskbasis.tracking.results import metrics

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="an optional extra")
pytestmark = pytest.mark.e2e


def notes(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("jobs/*.json"))]


def test_a_search_optimises_the_validation_score_and_goes_on_where_it_stopped(command, small_store, tmp_path):
    objective = "addition/val/top1"
    line = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=5", f"objective={objective}", "+smoke=true"]
    line += ["basis=ae", "M=range(0,2)", "basis.tau=interval(1,8)", "merge.inputs=atoms,reconstructed"]
    line += ["search.points=3", "tracker=none", "trainer=cpu", f"paths.store={small_store}"]
    done = command(*line, cwd=tmp_path)
    assert "Traceback" not in done.stderr, done.stderr
    shown = " ".join(done.stdout.split())
    assert f"at most 5 jobs, chosen by TPESampler for the highest {objective}" in shown
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    jobs = notes(sweep)
    assert len(jobs) == 5
    assert {"failed", "completed"} == {job["status"] for job in jobs}, "M=0 is refused, the others go on"
    assert done.returncode == 1
    scores = {}
    for path in (tmp_path / "outputs" / "runs").glob("*/result.json"):
        result = json.loads(path.read_text())
        scores[path.parent.name] = metrics(result)[objective]
    found = OmegaConf.load(sweep / "optimization_results.yaml")
    assert found.best_value == max(scores.values())
    best = next(job for job in jobs if scores.get(job["run"]) == found.best_value)
    assert f"best {objective}: {found.best_value:.6g}, job {best['number'] + 1}:" in shown
    assert f"M={found.best_params.M}" in best["overrides"]

    again = command(*line, cwd=tmp_path)
    assert again.returncode == 1
    assert [job["overrides"] for job in notes(sweep)] == [job["overrides"] for job in jobs]
    assert {job["status"] for job in notes(sweep)} == {"failed", "skipped"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["objective=addition/test/top1"], "error: objective=addition/test/top1: scores on test data are"),
        (["hydra.sweeper.direction=minimize"], "error: hydra.sweeper.direction=minimize: objective="),
        (
            ["objective=negation/val/target_top1"],
            "error: objective=negation/val/target_top1: negation is not",
        ),
    ],
)
def test_a_search_for_something_else_is_refused_before_anything_is_written(
    command, tmp_path, arguments, message
):
    done = command("-m", "hydra/sweeper=optuna", "M=1,2", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert list(tmp_path.iterdir()) == []
