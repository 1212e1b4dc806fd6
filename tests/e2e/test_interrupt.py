"""Ctrl-C in a terminal, which reaches every process of the command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "how", ["trainer.workers=1", pytest.param("trainer.devices=2", marks=pytest.mark.slow)]
)
def test_ctrl_c_ends_fine_tuning_and_all_processes_with_code_130(how, tmp_path):
    if how == "trainer.devices=2" and (os.cpu_count() or 1) < 2:
        pytest.skip("there are no two processors")
    store, line = tmp_path / "store", ["+smoke=true", "tracker=none", "trainer=cpu", how]
    line += ["finetune.max_steps=100000", "trainer.save_every=5", f"paths.store={tmp_path / 'store'}"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    running = subprocess.Popen(
        [sys.executable, "-m", "taskbasis.run", *line],
        cwd=tmp_path,
        env=env | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "120", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background has them ignore what Ctrl-C sends.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_for(lambda: list(store.rglob("state.safetensors")))
        os.killpg(running.pid, signal.SIGINT)
        output, _ = running.communicate(timeout=120)
        assert running.returncode == 130
        assert "Traceback" not in output
        wait_for(lambda: not anyone_in(running.pid), seconds=60)
    finally:
        if anyone_in(running.pid):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    (path,) = tmp_path.glob("outputs/runs/*/result.json")
    assert json.loads(path.read_text())["run"]["error"] == "interrupted"


def anyone_in(group):
    """Whether a process of this group is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, seconds=120):
    """Wait until ``condition()`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.05)
