"""Splits, checks, pixels and training images of the vision suite, and its commands."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
import vision_formats as formats
from PIL import Image

from taskbasis.data.__main__ import main
from taskbasis.data.pixels import PIXELS, Pixels
from taskbasis.data.preprocess import Preprocess
from taskbasis.data.vision import VisionSuite
from taskbasis.data.vision.catalog import CONTROL, TASKS, dataset
from taskbasis.data.vision.splits import GUARD, cut
from taskbasis.data.vision.suite import write_pixels
from taskbasis.errors import ConfigError, DataError
from taskbasis.store import Store

LOOK = Preprocess(32, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


def suite(root, **options):
    return VisionSuite(str(root), check_sizes=False, **options).fitted(LOOK)


@pytest.fixture
def eurosat(tmp_path):
    formats.eurosat(tmp_path / "data")
    return suite(tmp_path / "data"), Store(tmp_path / "store")


def test_the_cut_is_that_of_random_split_with_seed_zero():
    for size, val in ((60000, 5000), (8144, 814), (1020, 102), (262144, 5000)):
        splits = cut({"train": size, "test": 10})
        generator = torch.Generator().manual_seed(0)
        kept, held = torch.utils.data.random_split(range(size), [size - val, val], generator)
        assert splits["train"].indices.tolist() == kept.indices
        assert splits["val"].indices.tolist() == held.indices
    assert int(cut({"train": 60000})["train"].indices[0]) == GUARD == 36044


def test_another_generator_is_refused(monkeypatch):
    monkeypatch.setattr("taskbasis.data.vision.splits._permutation", lambda size: torch.arange(size))
    with pytest.raises(DataError, match="permutes 60000 items beginning with 0, not 36044"):
        cut({"train": 60000, "test": 10})


@pytest.mark.parametrize("name", TASKS)
def test_published_sizes_follow_from_the_cut(name):
    """Sizes of FIELD.md D1 by the rule min(10 %, 5000); EuroSAT alone has validation images of its own."""
    sizes = dataset(name).sizes
    if name == "EuroSAT":
        assert sizes == {"train": 21600, "val": 2700, "test": 2700}
        return
    whole = sizes["train"] + sizes["val"]
    assert sizes["val"] == min(whole // 10, 5000)


def test_a_dataset_with_validation_images_keeps_them(eurosat):
    made, store = eurosat
    assert made.scan(store, "EuroSAT").facts()["sizes"] == {"train": 40, "val": 30, "test": 20}


def test_the_control_is_cut_from_its_official_validation_images(tmp_path):
    formats.imagenet(tmp_path, train=True)
    found = suite(tmp_path).scan(Store(tmp_path / "store"), CONTROL)
    assert found.facts()["sizes"] == {"val": 100, "test": 900}
    assert set(torch.cat([found.images(s).indices for s in ("val", "test")]).tolist()) == set(range(1000))


def test_the_controls_validation_images_may_be_training_images_as_in_the_lineage(tmp_path):
    formats.imagenet(tmp_path, train=True)
    found = suite(tmp_path, control_split="train").scan(Store(tmp_path / "store"), CONTROL)
    assert found.facts()["sizes"] == {"val": 100, "test": 1000}
    assert found.artifact.meta["parts"] == {"val": "train", "test": "test"}


def test_wrong_sizes_are_refused(tmp_path):
    formats.eurosat(tmp_path)
    strict = VisionSuite(str(tmp_path)).fitted(LOOK)
    with pytest.raises(DataError, match=r"EuroSAT \(folder\): .* train has 40, not 21600"):
        strict.scan(Store(tmp_path / "store"), "EuroSAT")


def test_test_images_among_the_training_images_are_refused(tmp_path):
    """The published DTD folders held all images, so that accuracies were those of training images."""
    for part in ("train", "val"):
        formats.folder_images(tmp_path / f"dtd/{part}", dataset("DTD").labels, 3, seed=part == "val")
    for path in (tmp_path / "dtd/val").rglob("*.jpg"):
        shutil.copy(path, tmp_path / "dtd/train" / path.parent.name / f"copy_{path.name}")
    with pytest.raises(DataError, match=r"DTD \(folder\): 1\d\d of 141 test images are train images"):
        suite(tmp_path).scan(Store(tmp_path / "store"), "DTD")


def test_a_missing_dataset_says_where_it_was_looked_for_and_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"MNIST is not there .folder: no .* hf: no .* prepare"):
        suite(tmp_path).scan(Store(tmp_path / "store"), "MNIST")


def test_labels_beyond_the_classes_are_refused(tmp_path):
    formats.mnist(tmp_path / "mnist/MNIST/raw", classes=10, first=1)
    with pytest.raises(DataError, match="labels of train go from 1 to 10, but there are 10 classes"):
        suite(tmp_path).scan(Store(tmp_path / "store"), "MNIST")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "ftp"}, r"suite.source='ftp': accepted are auto, folder, torchvision, hf"),
        ({"sources": {"EuroSAT": "torchvision"}}, "suite.sources.EuroSAT='torchvision': accepted are"),
        ({"sources": {"Birds": "hf"}}, "unknown datasets"),
        ({"control_split": "test"}, "accepted are val, train"),
        ({"train_cache": "yes"}, "accepted are none, resized"),
    ],
)
def test_settings_that_there_are_not(options, message):
    with pytest.raises(ConfigError, match=message):
        VisionSuite("data", **options)


def test_variants_that_there_are_not():
    with pytest.raises(ConfigError, match=r"EMNIST='upside': accepted are null, upright, letters"):
        _ = VisionSuite("data", variants={"EMNIST": "upside"}).tasks


def test_scan_is_kept_until_files_change(eurosat):
    made, store = eurosat
    first = made.scan(store, "EuroSAT").artifact
    assert made.scan(store, "EuroSAT").artifact.reused
    path = next((next(iter(made.readers("EuroSAT").values())).place / "test/River").iterdir())
    Image.new("RGB", (20, 20)).save(path)
    changed = made.scan(store, "EuroSAT").artifact
    assert not changed.reused
    assert changed.meta["identities"]["test"] != first.meta["identities"]["test"]
    assert changed.meta["identities"]["train"] == first.meta["identities"]["train"]


def test_the_identity_of_a_split_does_not_depend_on_where_the_files_lie(eurosat, tmp_path):
    made, store = eurosat
    shutil.copytree(tmp_path / "data", tmp_path / "elsewhere")
    other = suite(tmp_path / "elsewhere")
    assert other.scan(store, "EuroSAT").identity("train") == made.scan(store, "EuroSAT").identity("train")
    assert other.training_set(store, "EuroSAT")[1] == made.training_set(store, "EuroSAT")[1]
    pixels = made.pixels(store, "EuroSAT", "test")
    assert other.pixels(store, "EuroSAT", "test").path == pixels.path


def test_pixels_are_open_clips_own_preprocessing(eurosat):
    made, store = eurosat
    stored = Pixels.open(made.pixels(store, "EuroSAT", "test").file(PIXELS))
    whole = open_clip.image_transform(32, is_train=False, mean=LOOK.mean, std=LOOK.std)
    images = made.scan(store, "EuroSAT").images("test")
    assert torch.equal(stored.labels, images.labels)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (LOOK.mean, LOOK.std))
    for i in range(len(stored)):
        assert torch.equal((stored.images[i].float().div(255) - mean) / std, whole(images.picture(i)))


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_pixels_for_every_way_to_resize(mode, tmp_path):
    from taskbasis.data.vision.images import ArrayImages
    from taskbasis.data.vision.transforms import evaluation_pixels

    look = Preprocess(16, LOOK.mean, LOOK.std, interpolation="bilinear", resize_mode=mode)
    array = formats.pictures([0, 1, 2], 40)[:, :, :30]
    images = ArrayImages(array, torch.tensor([0, 1, 2]))
    write_pixels(images, look, tmp_path / "p.safetensors")
    stored = Pixels.open(tmp_path / "p.safetensors")
    assert torch.equal(stored.images[1], evaluation_pixels(look)(Image.fromarray(array[1])))


def test_training_crops_are_open_clips_and_a_function_of_the_generator(eurosat):
    made, store = eurosat
    images, _ = made.training_set(store, "EuroSAT")
    indices = torch.tensor([3, 1, 4, 1])
    seeded = lambda seed: torch.Generator().manual_seed(seed)  # noqa: E731
    torch.manual_seed(5)
    before = torch.get_rng_state()
    pixels, labels = images.batch(indices, seeded(0))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(images.batch(indices, seeded(0))[0], pixels)
    assert not torch.equal(images.batch(indices, seeded(1))[0], pixels)
    assert not torch.equal(pixels[1], pixels[3])
    part, part_labels = images.batch(indices, seeded(0), slice(1, 3))
    assert torch.equal(part, pixels[1:3])
    assert torch.equal(part_labels, labels[1:3])
    theirs = open_clip.image_transform(32, is_train=True, mean=LOOK.mean, std=LOOK.std)
    seed = int(torch.randint(2**62, (4,), generator=seeded(0))[2])
    torch.manual_seed(seed)
    picture = made.scan(store, "EuroSAT").images("train").picture(4)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (LOOK.mean, LOOK.std))
    assert torch.equal((pixels[2].float().div(255) - mean) / std, theirs(picture))


def test_training_from_resized_pixels_has_another_name(eurosat):
    made, store = eurosat
    cached = suite(made.root, train_cache="resized")
    images, name = cached.training_set(store, "EuroSAT")
    assert name != made.training_set(store, "EuroSAT")[1]
    pixels, labels = images.batch(torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    assert pixels.shape == (2, 3, 32, 32)
    assert labels.tolist() == made.scan(store, "EuroSAT").images("train").labels[:2].tolist()


@pytest.mark.parametrize("cache", ["none", "resized"])
def test_training_images_depend_on_how_pictures_are_resized(eurosat, cache):
    made, store = eurosat
    looks = [LOOK, replace(LOOK, interpolation="bilinear"), replace(LOOK, resize_mode="longest")]
    cached = suite(made.root, train_cache=cache)
    names = [cached.fitted(look).training_set(store, "EuroSAT")[1] for look in looks]
    # Only what is resized beforehand has a side that decides its size.
    assert len(set(names)) == (3 if cache == "resized" else 2)


def test_knowing_the_classes_touches_no_data(tmp_path):
    tasks = VisionSuite(str(tmp_path / "nowhere")).tasks
    assert [task.name for task in tasks] == list(TASKS)
    assert sum(len(task.classes) for task in tasks) == 1159


# Prompts

PUBLISHED = json.loads((formats.TASKS.parents[3] / "tests/fixtures/vision_prompts.json").read_text())
"""Hashes of the prompts of every class, recorded when templates and listed names were the published code's.

Where that code takes names from the files of a dataset (as of Cars, CIFAR100, Food101, SUN397), ours are what
its rules give; names in files are compared with ours whenever data is read.
"""
READ = {
    "Cars": "i love my AM General Hummer SUV 2000!",
    "DTD": "a photo of the zigzagged object.",
    "EuroSAT": "a centered satellite photo of a brushland or shrubland.",
    "GTSRB": 'a close up photo of a "end / de-restriction of 80 kph speed limit" traffic sign.',
    "MNIST": 'a photo of the number: "0".',
    "RESISC45": "aerial view of the thermal power station.",
    "SVHN": 'a photo of the number: "9".',
    "SUN397": "a photo of the apartment building outdoor.",
    "CIFAR100": "a blurry photo of a aquarium_fish.",
    "STL10": "a photo of the airplane.",
    "Flowers102": "a photo of a colt's foot, a type of flower.",
    "OxfordIIITPet": "a photo of a American Bulldog, a type of pet.",
    "PCAM": "this is a photo of lymph node containing metastatic tumor tissue",
    "FER2013": "look at how ['surprised', 'shocked', 'spooked'] they are.",
    "EMNIST": 'a photo of the digit character: "5".',
    "CIFAR10": "a good photo of the truck.",
    "Food101": "a photo of apple_pie, a type of food.",
    "FashionMNIST": "a photo of the T-shirt/top.",
    "RenderedSST2": "a negative review of a movie.",
    "KMNIST": "a photo of the character tsu.",
    "ImageNet": "itap of my kite (bird of prey).",
}


@pytest.mark.parametrize("name", [*TASKS, CONTROL])
def test_prompts_are_the_published_ones_class_by_class(name):
    spec = dataset(name).spec
    prompts = [[template.format(c) for template in spec.templates] for c in spec.classes]
    assert READ[name] in [prompt for group in prompts for prompt in group]
    hashes = [hashlib.sha256("\n".join(group).encode()).hexdigest()[:8] for group in prompts]
    assert hashes == PUBLISHED[name]["prompts"]
    assert len(spec.templates) == PUBLISHED[name]["templates"]


def test_imagenets_prompts_are_those_of_open_clip():
    spec = dataset(CONTROL).spec
    assert list(spec.classes) == list(open_clip.IMAGENET_CLASSNAMES)
    theirs = [template("x") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    assert [template.format("x") for template in spec.templates] == theirs
    assert sorted({c for c in spec.classes if spec.classes.count(c) > 1}) == ["missile", "sunglasses"]


def test_clean_prompts_differ_where_the_lineage_is_odd():
    odd = {n for n in TASKS if dataset(n).classes != dataset(n, prompts="clean").classes}
    assert odd == {"CIFAR100", "FER2013", "Food101"}
    assert dataset("FER2013").templates[0].format(dataset("FER2013").classes[3]) == (
        "a photo of a ['happy', 'smiling'] looking face."
    )
    assert dataset("FER2013", prompts="clean").classes[3] == ("happy", "smiling")
    assert dataset("Food101", prompts="clean").classes[0] == "apple pie"


# Commands


def data(*arguments, root, store):
    places = ["--root", str(root), "--store", str(store)]
    return main([*arguments, *places, "suite.check_sizes=false"])


def test_prepare_decodes_once_and_check_says_ready(tmp_path, capsys):
    formats.eurosat(tmp_path / "data")
    formats.mnist(tmp_path / "data/mnist/MNIST/raw")
    places = {"root": tmp_path / "data", "store": tmp_path / "store"}
    assert data("prepare", "--tasks", "EuroSAT,MNIST", **places) == 0
    said = capsys.readouterr().out
    assert "GB to download and unpack" in said
    assert "2/2 MNIST is ready" in said
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert data("prepare", "--tasks", "EuroSAT,MNIST", **places) == 0
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert data("check", "--tasks", "EuroSAT,MNIST", **places) == 0
    assert "40 / 30 / 20" in capsys.readouterr().out


def test_check_says_what_is_missing_and_what_to_do(tmp_path, capsys):
    formats.eurosat(tmp_path / "data")
    assert data("check", "--tasks", "EuroSAT,Cars", root=tmp_path / "data", store=tmp_path / "store") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "the dataset Cars is not there" in said
    assert "--suite vision --tasks Cars --root" in said


def test_prepare_refuses_what_does_not_fit_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, 3 * 10**9))
    with pytest.raises(DataError, match=r"GB are needed and 3\.0 GB are free"):
        data("prepare", "--tasks", "SUN397,PCAM", root=tmp_path / "data", store=tmp_path / "store")
    assert not (tmp_path / "data").exists()


def test_prepare_without_a_connection_names_what_cannot_be_fetched(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert data("prepare", "--tasks", "Cars", root=tmp_path / "data", store=tmp_path / "store") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "its original server is gone" in said
    assert "cannot fetch tanganke/stanford_cars from the Hugging Face Hub" in said


def test_prepare_fetches_the_pinned_commit_from_the_hub(tmp_path, capsys, monkeypatch):
    """The client is replaced by one that copies from a folder."""
    formats.hub(tmp_path / "server", "tanganke/cifar10", dataset("CIFAR10").labels, {"train": 20, "test": 10})
    asked = {}

    def snapshot(repo, *, repo_type, revision, local_dir, allow_patterns):
        asked.update(repo=repo, type=repo_type, revision=revision, patterns=allow_patterns)
        shutil.copytree(tmp_path / "server/hub/tanganke--cifar10", local_dir)

    class Api:
        def dataset_info(self, repo, revision=None):
            return type("Info", (), {"sha": "0123abcd"})

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    places = {"root": tmp_path / "data", "store": tmp_path / "store"}
    assert data("prepare", "--tasks", "CIFAR10", "suite.sources.CIFAR10=hf", **places) == 0
    assert asked["revision"] == "0123abcd"
    found = suite(tmp_path / "data").scan(Store(tmp_path / "store"), "CIFAR10")
    assert found.facts()["source"] == {"kind": "hf", "repo": "tanganke/cifar10", "commit": "0123abcd"}


def test_pictures_that_differ_by_a_value_have_different_identities(tmp_path):
    """Hashes are of the content that the source stores, labels included."""
    formats.mnist(tmp_path / "a/mnist/MNIST/raw")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    path = tmp_path / "b/mnist/MNIST/raw/t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    first, second = (suite(tmp_path / x).scan(Store(tmp_path / "store"), "MNIST") for x in "ab")
    assert first.identity("test") != second.identity("test")
    assert first.identity("val") == second.identity("val")
    assert np.asarray(first.images("test").picture(0)).shape == (28, 28)
