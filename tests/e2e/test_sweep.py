"""Sweeps through the real command: shared work once, failures, interruptions, and launching again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
REPOSITORY = Path(__file__).resolve().parents[2]
LINE = ["-m", "basis=ae,pca,random_sample", "M=1,T/2", "scenario=8,14", "seed=0,1", "+smoke=true"]


def results(root):
    """Results by run name, without what belongs to one execution."""
    found = {path.parent.name: json.loads(path.read_text()) for path in root.glob("runs/*/result.json")}
    return {name: {k: v for k, v in result.items() if k != "run"} for name, result in found.items()}


def statuses(root):
    notes = [json.loads(path.read_text()) for path in sorted(root.glob("sweeps/*/jobs/*.json"))]
    return [note["status"] for note in notes]


@pytest.fixture
def launched(tmp_path):
    """Starts the command and returns the running process, a session of its own."""
    running = []

    def start(*arguments):
        env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
        env |= {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "120", "NO_COLOR": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "taskbasis.run", *arguments],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell that runs the tests in the background has them ignore what Ctrl-C sends.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition, seconds=120):
    """Wait until ``condition()`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.05)


def test_shared_work_is_done_once_and_a_second_launch_skips(command, small_store, tmp_path):
    line = [*LINE, "search.points=3", "finetune.seed=3", "tracker=none", f"paths.store={small_store}"]
    known = set(small_store.glob("finetuned/*"))
    done = command(*line, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plan, _, rest = done.stdout.partition("[1/24]")
    assert "24 jobs, 18 of them equal to others" in plan
    assert "24/24]" in rest
    assert "6 completed, 18 skipped" in rest
    new = set(small_store.glob("finetuned/[!.]*")) - known
    assert len(new) == 2
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("outputs/runs/*/result.json")}
    assert len(before) == 6
    assert all(path.parent.name.startswith("tiny-mini2-") for path in before)

    again = command(*line, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "24 skipped" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert set(small_store.glob("finetuned/[!.]*")) - known == new


def test_a_failing_job_does_not_stop_the_others(command, small_store, tmp_path):
    done = command(
        "-m",
        "finetune.lr=1e30,1e-3",
        "basis=exact",
        "+smoke=true",
        "tracker=none",
        f"paths.store={small_store}",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "1 completed, 1 failed" in done.stdout
    assert "job 1: TrainingError: fine-tuning '" in " ".join(done.stdout.split())
    assert statuses(tmp_path / "outputs") == ["failed", "completed"]
    journal = [path.read_text() for path in tmp_path.glob("outputs/sweeps/**/*.json")]
    assert len(journal) == 3
    assert all("paths.store=<store>" in text and str(small_store) not in text for text in journal)
    for path in (tmp_path / "outputs/runs").glob("*/result.json"):
        result, log = json.loads(path.read_text()), (path.parent / "run.log").read_text()
        failed = result["run"]["status"] == "failed"
        assert failed == (result["config"]["finetune"]["lr"] == 1e30) == ("at step" in log)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["objective=addition/test/top1"], "error: objective=addition/test/top1: scores on test data are"),
        (["on_error=wait"], "error: on_error='wait': accepted are continue, stop"),
    ],
)
def test_a_sweep_that_cannot_run_is_refused_before_anything_is_written(command, tmp_path, arguments, message):
    done = command("-m", "M=1,8", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_killed_and_interrupted_sweeps_go_on_where_they_stopped(launched, small_store, tmp_path, run_small):
    store, root = tmp_path / "store", tmp_path / "outputs"
    made_again = shutil.ignore_patterns("finetuned", "gram", "basis", "vectors", "scores")
    run_small("basis=exact", "M=1")
    shutil.copytree(small_store, store, ignore=made_again)
    line = ["-m", "basis=exact", "M=1,8", "merge.inputs=atoms,tasks", "seed=0,1", "+smoke=true"]
    line += ["search.points=3", "tracker=none", "trainer=cpu", "trainer.workers=2", f"paths.store={store}"]
    jobs = 8

    killed = launched(*line)
    wait_for(lambda: list(store.glob("finetuned/.*.tmp")))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert results(root) == {}

    stopped = launched(*line)
    wait_for(lambda: "completed" in statuses(root))
    os.kill(stopped.pid, signal.SIGINT)
    output, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    assert "Traceback" not in output
    assert "not started" in output
    assert "the same command goes on where this one stopped" in output
    assert len(results(root)) < jobs
    assert not list(store.glob("*/.*.tmp"))
    trained = {p: p.stat().st_mtime_ns for p in store.glob("finetuned/*/encoder.safetensors")}
    assert len(trained) == 2

    finished = launched(*line)
    output, _ = finished.communicate(timeout=300)
    assert finished.returncode == 0, output
    assert "skipped" in output
    assert {p: p.stat().st_mtime_ns for p in store.glob("finetuned/*/encoder.safetensors")} == trained
    assert len(results(root)) == jobs
    for result in results(root).values():
        uninterrupted = run_small(*(o for o in result["overrides"] if "smoke" not in o))
        apart = ("run", "overrides")
        assert {k: v for k, v in uninterrupted.items() if k not in apart} == {
            k: v for k, v in result.items() if k not in apart
        }
