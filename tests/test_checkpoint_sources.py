"""Runs on models that others fine-tuned, and on bases that others published: checkpoints=…"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from taskbasis.basis import Basis
from taskbasis.config import compose
from taskbasis.errors import ConfigError, ImporterError
from taskbasis.importers import to_hf
from taskbasis.importers.published import FUSION_BENCH, FolderSource, FusionBench, PublishedBasis, TallMasks
from taskbasis.models.imported import ImportJob, import_model
from taskbasis.models.open_clip_model import OpenClipModel
from taskbasis.models.stages import ENCODER, pretrained_and_heads
from taskbasis.run import run
from taskbasis.store import Store


@pytest.fixture(scope="module")
def trained(run_small, small_store, tmp_path_factory):
    """A run with its own models, and these models by task."""
    runs = tmp_path_factory.mktemp("trained")
    result = run_small("evaluation=all", "M=1", runs=runs)
    models = {}
    for manifest in small_store.glob("finetuned/*/manifest.json"):
        meta, files = (json.loads(manifest.read_text())[key] for key in ("meta", "files"))
        for task, entry in result["inputs"].items():
            if meta["task"] == task and files[ENCODER]["sha256"] == entry["sha256"]:
                models[task] = load_file(manifest.parent / ENCODER)
    (theta0,) = small_store.glob("pretrained/*/encoder.safetensors")
    return result, models, runs / result["run"]["id"] / "basis", load_file(theta0)


def lineage(root, models):
    """``<Task>Val/finetuned.pt`` as TALL-masks saves them: plain state dicts, text side included."""
    for task, tensors in models.items():
        folder = root / f"{task}Val"
        folder.mkdir(parents=True)
        extra = {"model.positional_embedding": torch.zeros(3, 3)}
        torch.save({f"model.{k}": v for k, v in tensors.items()} | extra, folder / "finetuned.pt")


def same(a, b):
    return {k: a[k] for k in ("tasks", "basis", "single", "protocols")} == {
        k: b[k] for k in ("tasks", "basis", "single", "protocols")
    }


@pytest.mark.parametrize("place", ["", "tiny", "checkpoints_42/tiny"])
def test_a_folder_of_the_lineage_gives_the_run_that_trained_its_models(place, trained, run_small, tmp_path):
    result, models, *_ = trained
    lineage(tmp_path / place, models)
    again = run_small("evaluation=all", "M=1", "checkpoints=folder", f"checkpoints.root={tmp_path}")
    assert same(again, result)
    task = result["tasks"][0]
    assert again["inputs"][task]["provenance"].startswith("folder: ")
    assert str(tmp_path) not in json.dumps(again)


def test_safetensors_by_task_name(trained, run_small, tmp_path):
    result, models, *_ = trained
    for task, tensors in models.items():
        save_file(tensors, tmp_path / f"{task}.safetensors")
    again = run_small("evaluation=all", "M=1", "checkpoints=folder", f"checkpoints.root={tmp_path}")
    assert same(again, result)


def published(folder, basis_folder, vectors):
    """A basis as the authors publish it: vectors and matrices pickled, tasks in JSON."""
    basis = Basis.load(basis_folder)
    folder.mkdir(parents=True)
    named = [
        {f"model.{k}": sum(float(b) * v[k] for b, v in zip(column, vectors, strict=True)) for k in vectors[0]}
        for column in basis.encoder.T
    ]
    torch.save({"basis_vectors": named, "num_basis": basis.M, "method": "ae"}, folder / "basis_vectors.pt")
    torch.save({"A": basis.encoder, "B": basis.encoder, "W": basis.decoder}, folder / "AWB.pt")
    info = {"method": "AutoencoderBasisMethod", "datasets": list(basis.tasks), "seed": 0}
    (folder / "method_info.json").write_text(json.dumps(info))


def test_a_published_basis_needs_no_fine_tuned_model(trained, run_small, tmp_path):
    """Addition and negation from atoms alone: the same α curve, counts and merged model."""
    result, models, basis_folder, theta0 = trained
    vectors = [{name: models[task][name] - theta0[name] for name in theta0} for task in result["tasks"]]
    published(tmp_path / "tiny_AE_M1_2task", basis_folder, vectors)
    again = run_small("evaluation=all", "M=1", "checkpoints=published_bases", f"checkpoints.root={tmp_path}")
    ours, theirs = (r["protocols"]["addition"] for r in (result, again))
    assert theirs["test"].keys() == ours["test"].keys()
    for a, b in zip(ours["search"]["curve"], theirs["search"]["curve"], strict=True):
        for task in a["tasks"]:
            assert abs(a["tasks"][task]["correct"] - b["tasks"][task]["correct"]) <= 1
    assert theirs["search"]["merged_norm"] == pytest.approx(ours["search"]["merged_norm"], rel=1e-4)
    assert theirs["normalized_top1"] is None
    assert again["single"]["finetuned"] == {}
    assert again["basis"]["loss"] is None
    for task in result["tasks"]:
        a, b = (r["protocols"]["negation"]["tasks"][task]["curve"] for r in (result, again))
        assert (
            max(abs(x["target"]["correct"] - y["target"]["correct"]) for x, y in zip(a, b, strict=True)) <= 1
        )
        assert again["inputs"][task]["provenance"] == "folder: tiny_AE_M1_2task"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["basis=exact"], "there are basis=ae and basis=pca"),
        (["merge.inputs=tasks"], "published bases come without task vectors"),
        (["checkpoints=nonsense"], "Could not find 'checkpoints/nonsense'"),
        (["checkpoints.source=nonsense"], "checkpoints.source='nonsense': accepted are train, folder"),
    ],
)
def test_what_published_bases_cannot_do(overrides, message, tmp_path):
    places = [f"paths.root={tmp_path}", "tracker=none", "trainer=cpu", "verbosity=quiet"]
    with pytest.raises(ConfigError, match=message):
        run(compose(["checkpoints=published_bases", *places, *overrides]))


# Where things lie on the Hub: a cache in its true layout, and no connection.


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The Hub's cache; returns a function that puts a file of a repository into it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = "0123456789abcdef0123456789abcdef01234567"

    def put(repo, name):
        folder = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
        path = folder / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    put.commit = commit
    return put


def test_tall_masks_on_the_hub(hub):
    for place in ("ViT-B-32/CarsVal", "VIT-B-16/DTDVal"):
        torch.save({}, hub("nik-dim/tall_masks", f"single_task/{place}/nonlinear_finetuned.pt"))
    found = TallMasks().find("ViT-B-32", "Cars")
    assert found.provenance.startswith(f"nik-dim/tall_masks@{hub.commit}: single_task/")
    assert found.warning is None
    assert "trained on the test images" in TallMasks().find("ViT-B-16", "DTD").warning
    with pytest.raises(ImporterError, match=r"cannot fetch single_task/ViT-L-14/.*HF_HOME"):
        TallMasks().find("ViT-L-14", "Cars")
    assert TallMasks(revision=hub.commit).find("ViT-B-32", "Cars").path == found.path


def test_fusion_bench_towers_become_open_clips(hub, small_clip, tmp_path):
    """The tower lacks the projection, which was not fine-tuned: it is that of θ₀."""
    clip, store, theta0 = stored(small_clip, tmp_path)
    tuned = {k: v + 0.01 for k, v in load_file(theta0.file(ENCODER)).items()}
    towers = {k: v.contiguous() for k, v in to_hf(tuned).tensors.items() if "projection" not in k}
    repo = "tanganke/clip-vit-base-patch32_sun397"
    save_file(towers, hub(repo, "model.safetensors"))
    hub(repo, "config.json").write_text(json.dumps({"hidden_act": "quick_gelu"}))
    named = NamedModel(FusionBench(), "ViT-B-32")
    artifact = import_model(ImportJob(store, clip, "SUN397", theta0, named), lambda event: None)
    imported = load_file(artifact.file(ENCODER))
    assert torch.equal(imported["visual.proj"], load_file(theta0.file(ENCODER))["visual.proj"])
    for name, tensor in tuned.items():
        if name != "visual.proj":
            assert torch.equal(imported[name], tensor), name
    assert artifact.meta["activation"] == "recorded"
    hub(repo, "config.json").write_text(json.dumps({"hidden_act": "gelu"}))
    with pytest.raises(ImporterError, match=r"was trained with GELU, the model .* has QuickGELU"):
        import_model(ImportJob(Store(tmp_path / "other"), clip, "SUN397", theta0, named), lambda event: None)
    with pytest.raises(ImporterError, match="FusionBench has no RN50"):
        FusionBench().find("RN50", "SUN397")
    assert len(FUSION_BENCH) == 20


def test_published_bases_on_the_hub(hub):
    hub("cindy2000sh/TaskVectorBasis-checkpoints", "ViT-B-32_AE_M4_8task/basis_vectors.pt").write_bytes(b"")
    found = PublishedBasis("AE", 4).find("ViT-B-32", [str(i) for i in range(8)])
    assert found.provenance.endswith(f"@{hub.commit}: ViT-B-32_AE_M4_8task")
    with pytest.raises(ImporterError, match=r"has no folder ViT-B-32_PCA_M4_8task|cannot fetch"):
        PublishedBasis("PCA", 4).find("ViT-B-32", [str(i) for i in range(8)])


class NamedModel:
    """Asks a source for another architecture than the small one that is tested."""

    def __init__(self, source, name):
        self.source, self.name = source, name

    def find(self, model, task):
        return self.source.find(self.name, task)


def stored(small_clip, folder):
    clip, store = OpenClipModel(f"local-dir:{small_clip}", pretrained=None), Store(folder / "store")
    theta0, _ = pretrained_and_heads(store, clip, [])
    return clip, store, theta0


def test_models_that_are_not_what_they_should_be(small_clip, tmp_path):
    clip, store, theta0 = stored(small_clip, tmp_path)
    weights = load_file(theta0.file(ENCODER))
    root = tmp_path / "models"
    root.mkdir()

    def attempt(tensors):
        save_file(tensors, root / "Cars.safetensors")
        return import_model(ImportJob(store, clip, "Cars", theta0, FolderSource(root)), lambda event: None)

    name = "visual.conv1.weight"
    with pytest.raises(
        ImporterError, match=r"another architecture .*: visual.conv1.weight has shape .* instead of"
    ):
        attempt(weights | {name: torch.zeros(3, 3)})
    with pytest.raises(ImporterError, match=r"it has no visual.conv1.weight"):
        attempt({k: v for k, v in weights.items() if k != name})
    with pytest.raises(ImporterError, match=r"it also has visual.extra"):
        attempt(weights | {"visual.extra": torch.zeros(1)})
    with pytest.raises(ImporterError, match=r"visual.conv1.weight has a value that is not finite"):
        attempt(weights | {name: torch.full_like(weights[name], float("nan"))})
    assert not list((tmp_path / "store").glob("imported/*/manifest.json"))
    assert attempt(weights).meta["provenance"] == "folder: Cars.safetensors"


def test_a_folder_without_the_model_and_one_with_two(tmp_path):
    with pytest.raises(ImporterError, match="there is no such folder"):
        FolderSource(tmp_path / "none").find("ViT-B-32", "Cars")
    with pytest.raises(ImporterError, match=r"no fine-tuned model of Cars in .*CarsVal/finetuned.pt"):
        FolderSource(tmp_path).find("ViT-B-32", "Cars")
    for place in ("checkpoints", "checkpoints_42"):
        folder = tmp_path / place / "ViT-B-32" / "CarsVal"
        folder.mkdir(parents=True)
        (folder / "finetuned.pt").write_bytes(b"")
    with pytest.raises(ImporterError, match=r"several models of Cars: .*set checkpoints.root"):
        FolderSource(tmp_path).find("ViT-B-32", "Cars")
    shutil.rmtree(tmp_path / "checkpoints")
    assert FolderSource(tmp_path).find("ViT-B-32", "Cars").path.parent == folder
