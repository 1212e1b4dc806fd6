"""The real command in processes of its own, as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.e2e


def refused(done):
    """The one line a refused command ends with."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Error executing job with overrides")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_help_explains_groups_with_examples(command, tmp_path):
    done = command("--help", cwd=tmp_path)
    assert done.returncode == 0
    for text in ("basis=ae M=4 scenario=14", "model", "suite", "merge", "tracker", "+smoke=true"):
        assert text in done.stdout
    for group in (
        "model",
        "suite",
        "scenario",
        "basis",
        "merge",
        "search",
        "evaluation",
        "trainer",
        "tracker",
    ):
        for option in (REPOSITORY / "conf" / group).glob("*.yaml"):
            assert option.stem in done.stdout, f"{group}={option.stem} is not in --help"
    assert list(tmp_path.iterdir()) == []


def test_configuration_is_shown_without_running(command, tmp_path):
    done = command("--cfg", "job", "scenario=14", cwd=tmp_path)
    assert done.returncode == 0
    assert "size: 14" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["basis=foo"], "Available options in 'basis': ae, ae_adam, exact"),
        (["basis=ae", "nonsense=1"], "Key 'nonsense' not in 'RunConfig'"),
        (["+experiment=nonsense"], "Could not find 'experiment/nonsense'"),
        (["scenario=9"], "Available options in 'scenario': 14, 20, 8"),
        (["tasks=[letters,nonsense]"], "unknown task 'nonsense' in tasks; suite 'mini' has"),
    ],
)
def test_a_wrong_command_is_one_clear_line_and_leaves_nothing(command, tmp_path, arguments, message):
    assert message in refused(command(*arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_clear_line(command, tmp_path):
    (tmp_path / "outputs").write_text("a file where the folder should be")
    line = refused(command("+smoke=true", cwd=tmp_path))
    assert "cannot write" in line
    assert "outputs" in line


def test_smoke_job_from_an_empty_directory_with_two_workers(command, tmp_path):
    done = command("basis=ae", "M=4", "scenario=14", "+smoke=true", "trainer.workers=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "normalized" in done.stdout
    (folder,) = (tmp_path / "outputs" / "runs").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["run"]["status"] == "completed"
    assert len(result["tasks"]) == 2
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    assert str(tmp_path) not in (folder / "result.json").read_text()


def test_sweep_with_an_unreachable_tracker_finishes_and_says_so(command, tmp_path):
    environment = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = command(
        "-m", "basis=ae,none", "M=1", "scenario=8", "+smoke=true", "tracker.mode=online", "tracker.timeout=3",
        cwd=tmp_path, environment=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("W&B cannot start online") == 2
    results = [json.loads(p.read_text()) for p in (tmp_path / "outputs/runs").glob("*/result.json")]
    assert sorted(r["basis"]["method"] for r in results) == ["ae", "none"]


def test_a_failing_job_exits_with_an_error_and_is_recorded(command, tmp_path):
    done = command("+smoke=true", "finetune.lr=1e30", "tracker=none", cwd=tmp_path)
    line = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert line.startswith("error: fine-tuning '")
    assert "at step" in line
    (folder,) = (tmp_path / "outputs" / "runs").iterdir()
    assert json.loads((folder / "result.json").read_text())["run"]["status"] == "failed"
    assert not list((tmp_path / "outputs/store/finetuned").glob("[!.]*"))


def test_the_wheel_works_from_an_empty_directory(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    done = subprocess.run(build, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "dist").iterdir()
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    run = [sys.executable, "-m", "taskbasis.run", "+experiment=mini_main", "+smoke=true", "tracker=none"]
    done = subprocess.run(
        run, cwd=work, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list((work / "outputs/runs").glob("*/result.json"))
