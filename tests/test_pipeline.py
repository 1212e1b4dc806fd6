"""The pipeline as a whole, on two tasks and twenty training steps."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from taskbasis.config import compose
from taskbasis.data.pixels import PIXELS, Pixels
from taskbasis.models.clip import image_encoder
from taskbasis.models.tiny_clip import TinyClip
from taskbasis.store import Store


def without_run(result):
    return {k: v for k, v in result.items() if k != "run"}


def stored(store, stage, **key):
    """Folder of the only artifact of a stage whose key has the given fields."""
    found = [
        folder
        for folder in Store(store).artifacts()
        if folder.parent.name == stage
        and key.items() <= json.loads((folder / "manifest.json").read_text())["key"].items()
    ]
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(scope="module")
def ae(run_own):
    return run_own("basis=ae", "M=1")


@pytest.fixture(scope="module")
def none(run_own):
    return run_own("basis=none")


def test_result_is_complete(ae):
    assert ae["schema"] == 1
    assert ae["run"]["status"] == "completed"
    assert (ae["basis"]["method"], ae["basis"]["M"], ae["basis"]["T"]) == ("ae", 1, 2)
    assert ae["seeds"] == {"finetune": 0, "basis": 0}
    assert set(ae["single"]) == {"zeroshot", "finetuned"}
    addition = ae["protocols"]["addition"]
    assert addition["merge"] == {"method": "sum", "inputs": "atoms", "params": {}}
    assert len(addition["search"]["curve"]) == len(addition["search"]["alphas"]) == 21
    assert list(addition["test"]) == ae["tasks"]
    top1 = sum(c["correct"] / c["n"] for c in addition["test"].values()) / 2
    assert addition["top1"] == pytest.approx(top1)
    assert ae["basis"]["loss"] <= 1.001 * ae["basis"]["spectral_bound"]
    assert ae["basis"]["full_bytes"] == 2 * ae["basis"]["stored_bytes"] - 2 * 8 * 4
    for task in ae["tasks"]:
        assert set(ae["inputs"][task]) == {"sha256", "provenance", "splits", "data"}


def test_alpha_zero_of_the_curve_is_the_zero_shot_model(ae):
    search = ae["protocols"]["addition"]["search"]
    assert search["curve"][0]["alpha"] == 0.0
    zeroshot = {task: splits["val"] for task, splits in ae["single"]["zeroshot"].items()}
    assert search["curve"][0]["tasks"] == zeroshot
    n = sum(count["n"] for count in zeroshot.values())
    assert (search["forward_images"], search["grid_images"]) == (20 * n, 21 * n)


def test_no_basis_equals_task_arithmetic_in_plain_pytorch(none, own_store):
    """Same α and same counts from the stored models, with nothing of ours but the architecture."""
    tasks = none["tasks"]
    theta0 = load_file(stored(own_store, "pretrained") / "encoder.safetensors")
    tuned = [load_file(stored(own_store, "finetuned", task=t, seed=0) / "encoder.safetensors") for t in tasks]
    vector = {k: sum(m[k] - theta0[k] for m in tuned) for k in theta0}
    heads, pixels = {}, {}
    for task in tasks:
        splits = {s: stored(own_store, "drawing", task=task, split=s) for s in ("val", "test")}
        pixels[task] = {s: Pixels.open(folder / PIXELS) for s, folder in splits.items()}
        key = json.loads((stored(own_store, "finetuned", task=task, seed=0) / "manifest.json").read_text())[
            "key"
        ]
        (head,) = [
            folder
            for folder in Store(own_store).artifacts()
            if json.loads((folder / "manifest.json").read_text())["content"] == key["head"]
        ]
        heads[task] = load_file(head / "head.safetensors")["weight"]
    encoder = image_encoder(TinyClip()).eval()

    @torch.no_grad()
    def correct(alpha, task, split):
        weights = {k: theta0[k] + alpha * vector[k] for k in theta0}
        encoder.load_state_dict(weights)
        data = pixels[task][split]
        logits = [
            F.normalize(encoder(data.images[i : i + 200]), dim=-1) @ heads[task].T
            for i in range(0, len(data), 200)
        ]
        return int((torch.cat(logits).argmax(1) == data.labels).sum())

    search = none["protocols"]["addition"]["search"]
    fine = {t: none["single"]["finetuned"][t]["val"]["correct"] for t in tasks}
    scores = {}
    for point in search["curve"]:
        counts = {t: correct(point["alpha"], t, "val") for t in tasks}
        assert counts == {t: c["correct"] for t, c in point["tasks"].items()}
        scores[point["alpha"]] = sum(counts[t] / fine[t] for t in tasks)
    best = max(scores.values())
    alpha = min(a for a, s in scores.items() if s > best - 1e-12)
    assert search["alpha"] == alpha
    test = {t: c["correct"] for t, c in none["protocols"]["addition"]["test"].items()}
    assert test == {t: correct(alpha, t, "test") for t in tasks}


def test_a_second_run_trains_nothing_and_gives_the_same_result(ae, run_own):
    again = run_own("basis=ae", "M=1")
    assert again["run"]["reused"]["finetuned"] == again["tasks"]
    assert again["run"]["reused"] | {"finetuned": []} == {
        "finetuned": [],
        "gram": True,
        "basis": True,
    }
    assert without_run(again) == without_run(ae)


def test_another_basis_reuses_the_models(ae, none):
    assert none["run"]["reused"]["finetuned"] == none["tasks"]
    assert none["run"]["reused"]["gram"]
    assert none["inputs"] == ae["inputs"]


def test_results_do_not_depend_on_workers_or_store(ae, run_own, tmp_path):
    other = run_own("basis=ae", "M=1", "trainer.workers=2", store=tmp_path / "elsewhere")
    assert other["run"]["reused"]["finetuned"] == []
    assert without_run(other) == without_run(ae)


def test_tasks_in_another_order_give_the_same_models(ae, run_own):
    swapped = run_own("basis=ae", "M=1", f"tasks=[{','.join(reversed(ae['tasks']))}]")
    assert swapped["tasks"] == ae["tasks"][::-1]
    assert swapped["run"]["reused"]["finetuned"] == swapped["tasks"]
    assert not swapped["run"]["reused"]["gram"]


def test_another_seed_of_fine_tuning_gives_other_models(ae, run_own):
    other = run_own("basis=ae", "M=1", "finetune.seed=1")
    assert other["run"]["reused"]["finetuned"] == []
    assert other["inputs"] != ae["inputs"]


@pytest.mark.parametrize("statistic", ["MEAN", "STD"])
def test_models_and_scores_depend_on_how_pixels_are_normalised(
    ae, run_own, own_store, tmp_path, monkeypatch, statistic
):
    store = shutil.copytree(own_store, tmp_path / "copy")
    monkeypatch.setattr(f"taskbasis.models.tiny_clip.{statistic}", (5.0, 5.0, 5.0))
    other = run_own("basis=ae", "M=1", store=store)
    assert other["run"]["reused"]["finetuned"] == []
    assert other["single"]["zeroshot"] != ae["single"]["zeroshot"]


def test_a_perturbed_model_is_found_and_made_again(ae, run_own, tmp_path, own_store, caplog):
    store = tmp_path / "copy"
    shutil.copytree(own_store, store)
    file = stored(store, "finetuned", task=ae["tasks"][0], seed=0) / "encoder.safetensors"
    weights = load_file(file)
    save_file({k: v + 1e-3 for k, v in weights.items()}, file)
    again = run_own("basis=ae", "M=1", store=store)
    assert ae["tasks"][0] not in again["run"]["reused"]["finetuned"]
    assert without_run(again) == without_run(ae)


def test_a_model_rebuilt_with_other_content_invalidates_what_depends_on_it(ae, run_own, tmp_path, own_store):
    from taskbasis.store.artifact import content_hash, describe_files

    store = tmp_path / "copy"
    shutil.copytree(own_store, store)
    folder = stored(store, "finetuned", task=ae["tasks"][0], seed=0)
    file = folder / "encoder.safetensors"
    save_file({k: v + 1e-3 * torch.sign(v) for k, v in load_file(file).items()}, file)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = describe_files(folder)
    manifest["content"] = content_hash(manifest["files"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    again = run_own("basis=ae", "M=1", store=store)
    assert again["run"]["reused"] == {
        "finetuned": ae["tasks"],
        "gram": False,
        "basis": False,
    }
    assert again["gram"]["matrix"] != ae["gram"]["matrix"]


def test_run_folder_holds_all_records(run_own, tmp_path):
    result = run_own("basis=ae", "M=2", runs=tmp_path)
    folder = tmp_path / result["run"]["id"]
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert names >= {
        "config.yaml",
        "result.json",
        "metrics.jsonl",
        "run.log",
        "plots/alpha_curve.png",
        "plots/per_task.png",
        "plots/cosines.png",
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines if line["stage"] == "basis"]


def test_run_names_are_readable_and_tell_settings_apart():
    names = {
        compose(["M=2"]).run_name,
        compose(["M=3"]).run_name,
        compose(["M=2", "search.points=11"]).run_name,
    }
    assert len(names) == 3
    assert compose(["M=2"]).run_name.startswith("tiny-mini8-ae-M2-s0f0-")
    same = compose(["M=2", "paths.root=elsewhere", "trainer.workers=1", "tracker=none", "verbosity=quiet"])
    assert same.run_name == compose(["M=2"]).run_name
