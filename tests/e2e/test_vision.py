"""The command of the paper on small datasets in the true formats, from preparing them to negation."""

import json

import pytest
import vision_formats as formats

from taskbasis.config import compose
from taskbasis.data.__main__ import main as prepare_data
from taskbasis.data.vision.catalog import TASKS
from taskbasis.errors import DataError
from taskbasis.run import run

pytestmark = pytest.mark.e2e
QUICK = [
    *("suite.check_sizes=false", "finetune.max_steps=2", "finetune.batch_size=8", "search.points=3"),
    *("tracker=none", "trainer=cpu", "evaluation=all", "verbosity=quiet"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    formats.all_of_them(root)
    return root


def small(folder):
    return [
        "model=open_clip",
        f"model.name=local-dir:{folder}",
        "model.pretrained=null",
        "model.quick_gelu=true",
    ]


def result_of(folder):
    (path,) = folder.glob("runs/*/result.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_all_twenty_tasks_and_the_control(command, data, small_clip, tmp_path):
    chosen = ["suite=vision", "scenario=20", "basis=ae", "M=4", *small(small_clip), *QUICK]
    done = command(*chosen, f"paths.root={tmp_path}", f"paths.data={data}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = result_of(tmp_path)
    assert result["tasks"] == list(TASKS)
    assert result["protocols"]["negation"]["control"] == "ImageNet"
    assert result["protocols"]["negation"]["control_zeroshot"]["test"]["n"] == 54
    assert len(result["protocols"]["addition"]["search"]["curve"]) == 3
    facts = {task: entry["data"] for task, entry in result["inputs"].items()}
    assert facts["Cars"]["source"]["kind"] == "torchvision"
    assert facts["EuroSAT"]["sizes"] == {"train": 40, "val": 30, "test": 20}
    assert facts["SVHN"]["source"] == {"kind": "hf"}
    assert facts["EMNIST"]["twins"] == {"val in train": 0, "test in train": 0, "val in test": 0}
    assert str(data) not in json.dumps(result)


def test_prepare_then_run_then_nothing_is_decoded_again(command, data, small_clip, tmp_path):
    places = [
        "--root",
        str(data),
        "--store",
        str(tmp_path / "store"),
        "--tasks",
        "MNIST,EuroSAT",
        "--control",
    ]
    settings = [*small(small_clip)[1:], "suite.check_sizes=false"]
    prepare = ["prepare", "--suite", "vision", "--model", "open_clip", *places, *settings]
    assert prepare_data(prepare) == 0
    pixels = {p: p.stat().st_mtime_ns for p in tmp_path.glob("store/pixels/*/pixels.safetensors")}
    assert len(pixels) == 6
    chosen = ["suite=vision", "tasks=[MNIST,EuroSAT]", "basis=none", *small(small_clip), *QUICK]
    done = command(*chosen, f"paths.root={tmp_path}", f"paths.data={data}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert pixels == {p: p.stat().st_mtime_ns for p in tmp_path.glob("store/pixels/*/pixels.safetensors")}
    result = result_of(tmp_path)
    assert result["tasks"] == ["MNIST", "EuroSAT"]
    assert str(tmp_path) not in json.dumps(result), "wherever the root is"


def test_a_missing_dataset_ends_the_run_with_what_to_do(small_clip, tmp_path):
    chosen = ["suite=vision", "tasks=[MNIST]", "basis=none", *small(small_clip), *QUICK]
    job = compose([*chosen, "trainer.workers=1", f"paths.root={tmp_path}", f"paths.data={tmp_path / 'none'}"])
    with pytest.raises(DataError, match=r"MNIST is not there.*data prepare --suite vision --tasks MNIST"):
        run(job)


@pytest.mark.slow
def test_a_vit_b_32_from_preparing_to_negation(command, data, tmp_path):
    """The paper's image encoder. The text side is small: a real one takes hours for ImageNet's prompts."""
    vision = {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32}
    model = small(formats.random_clip(tmp_path / "vit-b-32", 512, vision))
    places = ["--root", str(data), "--store", str(tmp_path / "store"), "--scenario", "8", "--control"]
    settings = [*model[1:], "suite.check_sizes=false"]
    assert prepare_data(["prepare", "--suite", "vision", "--model", "open_clip", *places, *settings]) == 0
    chosen = ["suite=vision", "scenario=8", "basis=ae", "M=4", *model, *QUICK]
    done = command(*chosen, f"paths.root={tmp_path}", f"paths.data={data}", cwd=tmp_path, timeout=3000)
    assert done.returncode == 0, done.stderr
    result = result_of(tmp_path)
    assert result["tasks"] == list(TASKS)[:8]
    assert result["basis"]["full_bytes"] == 8 * 4 * 87_849_216
    assert set(result["protocols"]["negation"]["tasks"]) == set(result["tasks"])


@pytest.mark.slow
def test_the_paper_s_model_from_a_file_of_weights(command, data, random_weights, tmp_path):
    """Both sides of ViT-B-32, by the name and with the activation of OpenAI's weights."""
    model = ["model=vit_b_32", f"model.weights={random_weights}"]
    chosen = ["suite=vision", "tasks=[EuroSAT,MNIST]", "basis=exact", "M=1", *model, *QUICK]
    places = [f"paths.root={tmp_path}", f"paths.data={data}"]
    done = command(*chosen, *places, "evaluation=addition", cwd=tmp_path, timeout=1800)
    assert done.returncode == 0, done.stderr
    assert result_of(tmp_path)["basis"]["full_bytes"] == 2 * 4 * 87_849_216


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    import open_clip
    import torch
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "vit_b_32.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model("ViT-B-32", pretrained=None, force_quick_gelu=True)
    save_file(model.state_dict(), path, metadata={"quick_gelu": "true"})
    return path
