"""What W&B gets, read back from the files it keeps offline; and uploading them later."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from wandb_file import of_kind, records

from taskbasis import sync
from taskbasis.config import compose
from taskbasis.errors import ConfigError
from taskbasis.job import mirror_settings
from taskbasis.tracking.results import metrics
from taskbasis.tracking.wandb_artifacts import Made, artifacts
from taskbasis.tracking.wandb_mirror import RUN_ID, open_mirror
from taskbasis.tracking.workspace import workspace
from taskbasis.vectors import VectorSet


@pytest.fixture(scope="module")
def offline(run_small, tmp_path_factory):
    """A reduced run that was mirrored offline: its result, its folder and its ``.wandb`` file."""
    runs = tmp_path_factory.mktemp("offline")
    options = ("tracker=wandb", "tracker.mode=offline", "tracker.group=a-sweep", "tracker.tags=[mine]")
    result = run_small("basis=ae", "M=1", *options, runs=runs)
    folder = runs / result["run"]["id"]
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    return result, folder, file


def test_run_config_and_names_arrive(offline):
    result, _, file = offline
    (run,) = of_kind(file, "run")
    assert (run.display_name, run.run_group, run.job_type) == (result["run"]["id"], "a-sweep", "addition")
    assert {"basis=ae", "mine"} <= set(run.tags)
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {k: v for k, v in config.items() if k != "_wandb"} == result["config"]


def test_curves_have_axes_of_their_own(offline):
    result, _, file = offline
    axes = {metric.glob_name: metric.step_metric for metric in of_kind(file, "metric") if metric.glob_name}
    assert axes["basis/*"] == "basis/step"
    assert axes["addition/curve/*"] == "addition/curve/alpha"
    points = []
    for record in of_kind(file, "history"):
        values = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.item}
        points.append(values)
    curve = [p["addition/curve/alpha"] for p in points if "addition/curve/alpha" in p]
    assert curve == [point["alpha"] for point in result["protocols"]["addition"]["search"]["curve"]]
    assert [p["basis/loss"] for p in points if "basis/loss" in p][-1] == pytest.approx(
        result["basis"]["loss"]
    )


def test_summary_table_and_plots_arrive(offline):
    result, _, file = offline
    summary = {}
    for record in of_kind(file, "summary"):
        for item in record.update:
            summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    for key, value in metrics(result).items():
        assert summary[key] == pytest.approx(value), key
    (table,) = file.parent.glob("files/media/table/*.json")
    assert [row[0] for row in json.loads(table.read_text())["data"]] == result["tasks"]
    shown = {path.name.split("_")[0] for path in file.parent.glob("files/media/images/plots/*.png")}
    assert {"alpha", "cosines", "encoder"} <= shown


def test_artifacts_say_what_they_were_made_from(offline):
    result, _, file = offline
    found = {a.name: a for a in of_kind(file, "artifact") if a.type != "run_table"}
    kinds = [artifact.type for artifact in found.values()]
    assert kinds == ["finetuned"] * len(result["tasks"]) + ["gram", "basis", "merged"]
    made_from = {a.type: json.loads(a.metadata)["made_from"] for a in found.values()}
    assert [found[name].type for name in made_from["gram"]] == ["finetuned"] * len(result["tasks"])
    assert [found[name].type for name in made_from["basis"]] == ["gram"]
    assert [found[name].type for name in made_from["merged"]] == ["basis"]
    (basis,) = (artifact for artifact in found.values() if artifact.type == "basis")
    assert {"basis.json", "matrices.safetensors"} <= {entry.path for entry in basis.manifest.contents}


def test_a_basis_published_without_its_models_has_no_checkpoints_to_name(offline, tmp_path):
    result, _, _ = offline
    published = result | {"inputs": {task: {"sha256": None} for task in result["tasks"]}}
    made = artifacts(published, Made(tmp_path))
    assert [artifact.type for artifact in made] == ["gram", "basis", "merged"]
    other = artifacts(published | {"gram": result["gram"] | {"matrix": [[1.0]]}}, Made(tmp_path))
    assert made[0].name != other[0].name, "without models a Gram matrix is named by its numbers"


def test_the_exit_code_is_right_and_nothing_of_the_machine_is_told(offline, tmp_path):
    _, folder, file = offline
    (end,) = of_kind(file, "exit")
    assert end.exit_code == 0
    for record in of_kind(file, "environment"):
        assert [record.program, record.executable, record.root, *record.args] == ["", "", ""]
    assert not (file.parent / "files" / "requirements.txt").exists()
    assert of_kind(file, "run")[0].host == ""
    # Where W&B finds the files of an artifact, until they are uploaded, is for this machine only.
    told = [r for r in records(file) if r.WhichOneof("record_type") not in ("artifact", "request")]
    assert told
    assert not any(str(folder.parent).encode() in record.SerializeToString() for record in told)


def test_what_wandb_keeps_lies_in_the_run_folder(offline):
    _, folder, file = offline
    kept = [
        Path(e.local_path) for a in of_kind(file, "artifact") for e in a.manifest.contents if e.local_path
    ]
    assert kept
    assert all(path.is_file() and folder.resolve() in path.resolve().parents for path in kept)
    assert "WANDB_DATA_DIR" not in os.environ


def test_weights_are_sent_if_they_are_asked_for(run_small, small_store, tmp_path):
    options = ("tracker=wandb", "tracker.mode=offline", "tracker.weights=true", "basis=random_sample", "M=1")
    result = run_small(*options, runs=tmp_path)
    folder = tmp_path / result["run"]["id"]
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    sent = {
        a.type: {e.path: Path(e.local_path) for e in a.manifest.contents} for a in of_kind(file, "artifact")
    }
    assert sent["basis"]["atom-000.safetensors"] == folder / "basis" / "atom-000.safetensors"
    atom = VectorSet.atoms(folder / "basis").tensors()
    (theta0,) = small_store.glob("pretrained/*/encoder.safetensors")
    merged, alpha = (
        load_file(sent["merged"]["merged.safetensors"]),
        result["protocols"]["addition"]["search"]["alpha"],
    )
    for name, start in load_file(theta0).items():
        torch.testing.assert_close(merged[name], start + alpha * atom[name] if name in atom else start)


def test_a_run_keeps_its_identity_until_it_has_completed(tmp_path):
    settings = mirror_settings(compose([f"paths.runs={tmp_path}", "tracker.mode=offline"]))
    for exit_code in (1, 0, 0):
        mirror = open_mirror(settings, {"a": 1})
        mirror.point("basis", "", 0, {"loss": 1.0})
        mirror.finish(exit_code)
        assert (settings.folder / RUN_ID).exists() == bool(exit_code)
    files = sorted(
        settings.folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns
    )
    first, second, third = (of_kind(file, "run")[0].run_id for file in files)
    assert first == second
    assert third != first
    assert of_kind(files[0], "exit")[0].exit_code == 1


class TestSync:
    @pytest.fixture
    def segments(self, tmp_path):
        names = (
            "20250102_000000-bbbb",
            "20250101_000000-aaaa",
            "20250103_000000-aaaa",
            "20250104_000000-cccc",
        )
        for name in names:
            folder = tmp_path / "runs" / "one" / "wandb" / f"offline-run-{name}"
            folder.mkdir(parents=True)
            (folder / f"run-{name[-4:]}.wandb").write_text("")
        (folder / "run-cccc.wandb.synced").write_text("")
        return tmp_path / "runs"

    def test_what_waits_is_uploaded_run_by_run_in_the_order_of_time(self, segments, monkeypatch):
        asked = []
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setattr(sync, "_upload", lambda paths: asked.extend(paths) or 3)
        assert sync.main([str(segments), str(segments)]) == 3
        names = [path.name.removeprefix("offline-run-") for path in asked]
        assert names == ["20250101_000000-aaaa", "20250103_000000-aaaa", "20250102_000000-bbbb"]

    def test_a_dry_run_needs_no_key(self, segments, monkeypatch, capsys):
        monkeypatch.setattr(sync, "_upload", None)
        assert sync.main([str(segments), "--dry-run"]) == 0
        assert "2 W&B runs to upload, in 3 segments" in capsys.readouterr().out

    def test_without_a_key_or_folder_it_says_so(self, segments, monkeypatch, tmp_path):
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        monkeypatch.setenv("NETRC", str(tmp_path / "none"))
        with pytest.raises(ConfigError, match="W&B knows no key: run `wandb login`"):
            sync.main([str(segments)])
        with pytest.raises(ConfigError, match="nowhere is not a folder"):
            sync.main(["nowhere"])

    def test_the_upload_is_w_and_bs_own(self, offline, tmp_path, monkeypatch):
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setattr(sync.subprocess, "run", lambda command, check: recorded(command))
        assert sync.main([str(offline[1].parent)]) == 0


def recorded(command):
    """What a finished process is taken for, after checking that the command exists."""
    from wandb.cli.cli import cli

    assert command[1:4] == ["-m", "wandb", "sync"]
    assert "--yes" in {o for p in cli.commands["sync"].params for o in p.opts}
    assert command[4] == "--yes"
    assert all(Path(path).is_dir() for path in command[5:])
    return type("Done", (), {"returncode": 0})


def test_the_workspace_shows_what_runs_report(offline):
    pytest.importorskip("wandb_workspaces")
    text = str(workspace("me/project")._to_model())
    known = set(metrics(offline[0])) | {"addition/curve/val_top1", "basis/loss"}
    for name in (
        "addition/test/normalized_top1",
        "basis/stored_bytes",
        "addition/curve/val_top1",
        "basis/loss",
    ):
        assert name in known
        assert name in text
    with pytest.raises(ConfigError, match="accepted is ENTITY/PROJECT"):
        workspace("project")
