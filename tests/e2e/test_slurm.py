"""A sweep on a real SLURM cluster of one node, which exists only as long as the test."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ONE_NODE = Path(__file__).with_name("one_node_slurm.sh")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "setpriv")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, PROGRAMS)) or os.geteuid() != 0,
        reason="needs root, slurm-wlm and munge to start a cluster of one node",
    ),
]
RATES = ("1e-3", "1e30")


def test_a_sweep_on_slurm_fails_skips_and_leaves_no_daemon(tmp_path, small_store):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="an optional extra")
    line = f"{sys.executable} -m taskbasis.run -m hydra/launcher=submitit_slurm hydra.launcher.timeout_min=10"
    line += f" hydra.launcher.cpus_per_task=1 basis=exact,random_sample M=1 finetune.lr={','.join(RATES)}"
    line += f" +smoke=true search.points=3 tracker=none trainer=cpu paths.store={small_store}"
    script = f"({line}) > first.txt 2>&1; echo $? > codes; ({line}) > second.txt 2>&1; echo $? >> codes; "
    script += "squeue --noheader | wc -l >> codes; dirname $SLURM_CONF >> codes"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "120"}
    done = subprocess.run(
        [str(ONE_NODE), "bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *numbers, home = (tmp_path / "codes").read_text().split()
    assert numbers == ["1", "1", "0"], "a failing job is an exit code; no job is left"
    assert not Path(home).exists()
    daemons = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert home not in daemons

    first, second = ((tmp_path / f"{name}.txt").read_text() for name in ("first", "second"))
    assert "4 jobs" in first
    assert "2 completed, 2 failed" in first
    assert "2 skipped, 2 failed" in second
    assert "TrainingError: fine-tuning '" in " ".join(first.split())
    for path in (tmp_path / "outputs" / "runs").glob("*/result.json"):
        result = json.loads(path.read_text())
        status = "failed" if result["config"]["finetune"]["lr"] == float(RATES[1]) else "completed"
        assert result["run"]["status"] == status
        assert (path.parent / "run.log").read_text()
