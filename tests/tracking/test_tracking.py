import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from taskbasis.config import compose
from taskbasis.errors import ConfigError
from taskbasis.job import mirror_settings
from taskbasis.tracking import wandb_mirror
from taskbasis.tracking.console import summary
from taskbasis.tracking.records import worth_recording
from taskbasis.tracking.redaction import Redactor, redactor_of
from taskbasis.tracking.wandb_mirror import NoMirror, WandbMirror, open_mirror


class TestRedaction:
    def test_home_data_and_secrets_are_replaced_everywhere(self, tmp_path):
        environment = {"WANDB_API_KEY": "0123456789abcdef", "PATH": "/usr/bin:/bin", "HF_TOKEN": "short"}
        redactor = Redactor({"data": tmp_path / "data"}, environment)
        value = {
            "path": str(Path.home() / "x"),
            "nested": [str(tmp_path / "data" / "mnist"), {"key": "is 0123456789abcdef."}],
            str(Path.home()): 1,
            "number": 3,
            "other": "/usr/bin:/bin short",
        }
        assert redactor.value(value) == {
            "path": "~/x",
            "nested": ["<data>/mnist", {"key": "is <secret>."}],
            "~": 1,
            "number": 3,
            "other": "/usr/bin:/bin short",
        }

    def test_the_longest_folder_wins(self, tmp_path):
        redactor = Redactor({"root": tmp_path, "data": tmp_path / "deep"}, {})
        assert redactor.text(f"{tmp_path}/deep/x {tmp_path}/y") == "<data>/x <root>/y"

    def test_what_a_job_reads_and_where_python_lies_have_names(self):
        settings = ["model=vit_b_32", "model.name=local-dir:/scratch/me/clip", "suite=vision"]
        redactor = redactor_of(compose([*settings, "suite.root=/big/images", "paths.root=/scratch/out"]))
        assert redactor.text("local-dir:/scratch/me/clip in /big/images") == "local-dir:<model> in <suite>"
        told = redactor.text(f"{json.__file__} {pytest.__file__} {wandb_mirror.__file__} {sys.executable}")
        assert told.split()[:3] == [
            "<stdlib>/json/__init__.py",
            "<packages>/pytest/__init__.py",
            "<taskbasis>/tracking/wandb_mirror.py",
        ]
        assert sys.prefix not in told


def test_curves_are_thinned_but_keep_their_ends():
    kept = [step for step in range(1, 2001) if worth_recording(step, 2000)]
    assert kept[0] == 1
    assert kept[-1] == 2000
    assert 90 <= len(kept) <= 110
    assert all(worth_recording(step, 50) for step in range(1, 51))


class TestMirror:
    def settings(self, tmp_path, *overrides):
        return mirror_settings(compose([f"paths.runs={tmp_path}", *overrides]))

    def test_tags_and_name_tell_runs_apart(self, tmp_path):
        settings = self.settings(tmp_path, "scenario=14", "tracker.tags=[mine]", "tracker.group=sweep")
        assert {"scenario=14", "basis=ae", "model=tiny", "mine"} <= set(settings.tags)
        assert settings.name == compose(["scenario=14"]).run_name
        assert settings.group == "sweep"

    def test_an_unknown_mode_is_refused(self, tmp_path):
        with pytest.raises(ConfigError, match=r"tracker\.mode='always': accepted are auto, online"):
            self.settings(tmp_path, "tracker.mode=always")

    def test_disabled_starts_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(wandb_mirror, "_init", lambda *_: pytest.fail("started"))
        assert isinstance(open_mirror(self.settings(tmp_path, "tracker=none"), {}), NoMirror)

    @pytest.mark.parametrize(("key", "expected"), [("k" * 40, ["online"]), (None, ["offline"])])
    def test_auto_is_online_with_a_key_and_offline_without(self, tmp_path, monkeypatch, key, expected):
        modes = []
        monkeypatch.setattr(wandb_mirror, "_init", lambda _, mode, *rest: modes.append(mode))
        monkeypatch.setenv("NETRC", str(tmp_path / "none"))
        monkeypatch.setenv("WANDB_API_KEY", key) if key else monkeypatch.delenv(
            "WANDB_API_KEY", raising=False
        )
        monkeypatch.delenv("WANDB_MODE", raising=False)
        open_mirror(self.settings(tmp_path), {})
        assert modes == expected

    @pytest.mark.parametrize(
        ("said", "expected"), [("offline", ["offline"]), ("disabled", []), ("?", ["online"])]
    )
    def test_auto_is_what_the_environment_says(self, tmp_path, monkeypatch, said, expected):
        modes = []
        monkeypatch.setattr(wandb_mirror, "_init", lambda _, mode, *rest: modes.append(mode))
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        monkeypatch.setenv("WANDB_MODE", said)
        open_mirror(self.settings(tmp_path), {})
        assert modes == expected
        open_mirror(self.settings(tmp_path, "tracker.mode=online"), {})
        assert modes[-1] == "online", "what the configuration says comes first"

    def test_a_failure_without_a_word_is_named(self, tmp_path, monkeypatch, caplog):
        def init(*_):
            raise TimeoutError

        monkeypatch.setattr(wandb_mirror, "_init", init)
        assert isinstance(open_mirror(self.settings(tmp_path, "tracker.mode=offline"), {}), NoMirror)
        assert "W&B cannot start offline (TimeoutError)" in caplog.text

    def test_an_unreachable_server_means_offline_and_is_said(self, tmp_path, monkeypatch, caplog):
        def init(settings, mode, config, identity):
            if mode == "online":
                raise ConnectionError("no route")
            return "run"

        monkeypatch.setattr(wandb_mirror, "_init", init)
        with caplog.at_level("WARNING", logger="taskbasis"):
            mirror = open_mirror(self.settings(tmp_path, "tracker.mode=online"), {})
        assert isinstance(mirror, WandbMirror)
        assert "no route" in caplog.text
        assert "offline" in caplog.text

    def test_trouble_is_logged_once_and_never_raised(self, caplog):
        class Broken:
            def __getattr__(self, name):
                raise RuntimeError("lost")

        mirror = WandbMirror(Broken(), Path("nowhere"))
        with caplog.at_level("WARNING", logger="taskbasis"):
            mirror.point("a", "b", 1, {"x": 1.0})
            mirror.point("a", "b", 2, {"x": 1.0})
            mirror.finish(0)
        assert caplog.text.count("lost") == 1

    def test_each_curve_has_an_axis_of_its_own(self):
        calls = []

        class Run:
            def define_metric(self, name, step_metric):
                calls.append(("define", name, step_metric))

            def log(self, values):
                calls.append(("log", values))

        mirror = WandbMirror(Run(), Path("nowhere"))
        mirror.point("fine-tuning", "letters", 5, {"loss": 0.5})
        mirror.point("fine-tuning", "letters", 6, {"loss": 0.4})
        assert calls == [
            ("define", "fine-tuning/letters/*", "fine-tuning/letters/step"),
            ("log", {"fine-tuning/letters/step": 5, "fine-tuning/letters/loss": 0.5}),
            ("log", {"fine-tuning/letters/step": 6, "fine-tuning/letters/loss": 0.4}),
        ]


def test_summary_shows_every_task_and_the_means(run_small):
    result = run_small("basis=ae", "M=1")
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary(result))
    text = console.export_text()
    for task in result["tasks"]:
        assert task in text
    assert f"{100 * result['protocols']['addition']['top1']:.1f}" in text


class Spy:
    """A mirror that remembers what it was told."""

    def __init__(self):
        self.exit_code, self.results, self.points = None, [], []

    def point(self, *point):
        self.points.append(point)

    def result(self, result, images, made):
        assert (made.basis / "matrices.safetensors").is_file()
        assert made.merged is None
        self.results.append((result, images))

    def finish(self, exit_code):
        self.exit_code = exit_code


def test_a_failing_job_is_recorded_and_mirrored_as_failed(run_small, tmp_path, monkeypatch):
    from taskbasis import job, pipeline
    from taskbasis.errors import TrainingError

    def fail(*_):
        raise TrainingError("fine-tuning 'x': the loss is nan at step 3")

    spy = Spy()
    monkeypatch.setattr(job, "open_mirror", lambda *_: spy)
    monkeypatch.setattr(pipeline, "finetune_all", fail)
    with pytest.raises(TrainingError):
        run_small("basis=ae", "M=1", runs=tmp_path)
    (folder,) = tmp_path.iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["run"]["status"] == "failed"
    assert "nan at step 3" in result["run"]["error"]
    log = (folder / "run.log").read_text()
    assert "nan at step 3" in log
    assert 'File "<taskbasis>/' in log
    assert not [place for place in (str(Path(job.__file__).parent), sys.prefix) if place in log]
    assert spy.exit_code == 1
    assert spy.results == []


def test_without_records_no_mirror_is_begun(run_small, monkeypatch):
    from taskbasis import job
    from taskbasis.errors import StoreError

    def refuse(*_):
        raise StoreError("cannot write")

    monkeypatch.setattr(job, "RunRecord", refuse)
    monkeypatch.setattr(job, "open_mirror", lambda *_: pytest.fail("begun"))
    with pytest.raises(StoreError, match="cannot write"):
        run_small("basis=ae", "M=1")


def test_a_job_that_is_stopped_while_its_mirror_begins_is_recorded(run_small, tmp_path, monkeypatch):
    from taskbasis import job

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "open_mirror", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_small("basis=ae", "M=1", runs=tmp_path)
    (result,) = tmp_path.glob("*/result.json")
    assert json.loads(result.read_text())["run"]["error"] == "interrupted"


def test_a_completed_job_is_mirrored_with_its_plots(run_small, monkeypatch):
    from taskbasis import job

    spy = Spy()
    monkeypatch.setattr(job, "open_mirror", lambda *_: spy)
    result = run_small("basis=ae", "M=1")
    assert spy.exit_code == 0
    assert spy.results[0][0] == result
    assert {p.stem for p in spy.results[0][1]} >= {
        "alpha_curve",
        "per_task",
        "cosines",
        "spectrum",
        "encoder",
    }
    assert [p for p in spy.points if p[0] == "basis"]


def test_the_public_machine_is_not_in_the_records(run_small, tmp_path):
    result = run_small("basis=ae", "M=1", runs=tmp_path)
    folder = tmp_path / result["run"]["id"]
    for file in folder.rglob("*"):
        if file.suffix in (".json", ".yaml", ".log", ".jsonl"):
            text = file.read_text()
            assert str(Path.home()) not in text
            assert str(tmp_path) not in text, file
