"""Every source of every dataset, on small files in the true format, read by the real libraries."""

from pathlib import Path

import numpy as np
import pytest
import torch
import vision_formats as formats

from taskbasis.data.vision.catalog import dataset, spelling
from taskbasis.data.vision.readers import reader
from taskbasis.errors import DataError

MD5_CHECKED = ("cifar", "svhn", "stl10", "flowers102", "fer2013")


@pytest.fixture
def any_md5(monkeypatch):
    """torchvision compares some files with the originals' md5: small ones pass if they are there."""
    for module in MD5_CHECKED:
        there = lambda path, md5=None: Path(path).is_file()  # noqa: E731
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", there)


def read(name, kind, root, variant=None):
    found = reader(dataset(name, variant), kind, root)
    assert found.missing() is None
    return found.parts()


def brightness(images, count=None):
    return torch.tensor([np.asarray(images.picture(i)).mean() for i in range(count or len(images.labels))])


def follow(images):
    """Whether brightness follows the label: then no label was put to another picture."""
    mean = brightness(images)
    classes = sorted(set(images.labels.tolist()))
    by_class = torch.stack([mean[images.labels == c].mean() for c in classes])
    return bool((by_class.diff() > 0).all()) if len(classes) < 40 else bool(by_class[-1] > by_class[0] + 50)


ARCHIVES = {
    "Cars": lambda root: formats.cars(root),
    "DTD": lambda root: formats.dtd(root),
    "GTSRB": lambda root: formats.gtsrb(root),
    "MNIST": lambda root: formats.mnist(root / "mnist/MNIST/raw"),
    "SVHN": lambda root: formats.svhn(root),
    "CIFAR100": lambda root: formats.cifar100(root),
    "STL10": lambda root: formats.stl10(root),
    "Flowers102": lambda root: formats.flowers(root),
    "OxfordIIITPet": lambda root: formats.pets(root),
    "PCAM": lambda root: formats.pcam(root),
    "FER2013": lambda root: formats.fer2013(root),
    "EMNIST": lambda root: formats.mnist(root / "EMNIST/EMNIST/raw", prefix="emnist-digits"),
    "CIFAR10": lambda root: formats.cifar10(root),
    "Food101": lambda root: formats.food101(root),
    "FashionMNIST": lambda root: formats.mnist(root / "FashionMNIST/FashionMNIST/raw"),
    "RenderedSST2": lambda root: formats.sst2(root),
    "KMNIST": lambda root: formats.mnist(root / "KMNIST/KMNIST/raw"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_of_torchvision(name, tmp_path, any_md5):
    ARCHIVES[name](tmp_path)
    parts = read(name, "torchvision", tmp_path)
    assert set(parts) == {"train", "test"}
    for images in parts.values():
        assert images.labels.dtype == torch.int64
        assert sorted(set(images.labels.tolist())) == list(range(len(dataset(name).labels)))
        assert images.picture(0).mode in ("L", "RGB")
        assert follow(images)
    assert parts["train"].content(0) == parts["train"].content(0) != parts["test"].content(0)


FOLDERS = {
    "EuroSAT": (formats.eurosat, {"train": 40, "val": 30, "test": 20}),
    "RESISC45": (formats.resisc45, {"train": 90, "test": 45}),
    "SUN397": (formats.sun397, {"train": 794, "test": 397}),
    "ImageNet": (formats.imagenet, {"test": 1000}),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_of_the_lineage(name, tmp_path):
    make, sizes = FOLDERS[name]
    make(tmp_path)
    parts = read(name, "folder", tmp_path)
    assert {part: len(images.labels) for part, images in parts.items()} == sizes
    assert all(follow(images) for images in parts.values())


def test_any_dataset_may_lie_in_folders_of_its_name(tmp_path):
    for part in ("train", "test"):
        formats.folder_images(tmp_path / f"CIFAR10/{part}", dataset("CIFAR10").labels, 2)
    assert follow(read("CIFAR10", "folder", tmp_path)["train"])


@pytest.mark.parametrize("spelled", ["val", "valid"])
def test_eurosats_validation_folder_has_two_spellings(spelled, tmp_path):
    formats.eurosat(tmp_path, val=spelled)
    assert len(read("EuroSAT", "folder", tmp_path)["val"].labels) == 30


def test_folder_images_are_in_the_order_of_torchvisions_imagefolder(tmp_path):
    """The cut into training and validation images depends on it."""
    from torchvision.datasets import ImageFolder

    formats.eurosat(tmp_path)
    theirs = ImageFolder(tmp_path / "EuroSAT_splits/train")
    ours = read("EuroSAT", "folder", tmp_path)["train"]
    assert [path for path, _ in theirs.samples] == list(ours.paths)
    assert theirs.targets == ours.labels.tolist()


def test_resisc45_lists_bare_names_of_files_in_folders_of_classes(tmp_path):
    formats.resisc45(tmp_path)
    listing = tmp_path / "resisc45/resisc45-train.txt"
    listing.write_text(listing.read_text() + "airplane_999.jpg\n")
    with pytest.raises(DataError, match=r"lists 91 images, .* has 90 of them, such as airplane_999.jpg"):
        read("RESISC45", "folder", tmp_path)


def test_sun397_folders_begin_with_a_letter(tmp_path):
    formats.sun397(tmp_path)
    names = dataset("SUN397")
    assert names.labels[8] == "a_apartment_building_outdoor"
    assert names.classes[8] == "apartment building outdoor"
    assert len(read("SUN397", "folder", tmp_path)["train"].labels) == 794


def test_svhn_calls_zero_ten(tmp_path, any_md5):
    formats.svhn(tmp_path)
    images = read("SVHN", "torchvision", tmp_path)["train"]
    assert images.labels[:3].tolist() == [0, 1, 2]
    mean = brightness(images)
    assert mean[images.labels == 0].mean() < mean[images.labels == 9].mean()


def test_dtd_joins_the_official_train_and_validation_lists(tmp_path):
    formats.dtd(tmp_path)
    parts = read("DTD", "torchvision", tmp_path)
    assert (len(parts["train"].labels), len(parts["test"].labels)) == (188, 94)


def test_emnist_as_its_files_are_upright_and_letters(tmp_path):
    from taskbasis.data.vision.images import Transposed

    raw = tmp_path / "EMNIST/EMNIST/raw"
    formats.mnist(raw, prefix="emnist-digits", transposed=True)
    picture = np.asarray(read("EMNIST", "torchvision", tmp_path)["train"].picture(9)).astype(int)
    assert picture[:, 14:].mean() > picture[:, :14].mean() + 20  # the dark half lies at the left
    assert not dataset("EMNIST").transpose
    upright = Transposed(read("EMNIST", "torchvision", tmp_path, "upright")["train"])
    picture = np.asarray(upright.picture(9)).astype(int)
    assert picture[14:].mean() > picture[:14].mean() + 20
    assert dataset("EMNIST", "upright").transpose
    formats.mnist(raw, prefix="emnist-letters", classes=26, train=52, test=26, first=1, transposed=True)
    letters = read("EMNIST", "torchvision", tmp_path, "letters")["train"]
    assert (int(letters.labels.min()), int(letters.labels.max())) == (0, 25)
    assert dataset("EMNIST", "letters").classes[0] == "a"


def test_the_hub_copy_of_the_letters_is_upright_already(tmp_path):
    formats.hub(
        tmp_path, "tanganke/emnist_letters", list("abcdefghijklmnopqrstuvwxyz"), {"train": 52, "test": 26}
    )
    assert follow(read("EMNIST", "hf", tmp_path, "letters")["train"])
    assert dataset("EMNIST", "letters").sources["hf"].settings["transpose"] is False


HUB_SPLITS = {"Food101": {"train": "train", "test": "validation"}, "ImageNet": {"test": "validation"}}


@pytest.mark.parametrize("name", [n for n in (*ARCHIVES, *FOLDERS) if n != "EMNIST"])
def test_copies_on_the_hub(name, tmp_path):
    described = dataset(name)
    settings = described.sources["hf"].settings
    splits = HUB_SPLITS.get(name, {"train": "train", "test": "test"})
    names = [c if isinstance(c, str) else c[0] for c in described.classes]
    if name in ("FER2013", "PCAM"):
        names = list(described.labels)
    if name == "ImageNet":
        names = [f"{c}, or {i}" for i, c in enumerate(names)]
    formats.hub(
        tmp_path,
        settings["repo"],
        names,
        {there: len(names) for there in splits.values()},
        image=settings.get("image", "image"),
        label=settings.get("label", "label"),
        binary=name == "FER2013",
        place=f"{settings.get('subset', 'data')}/{{split}}-00000-of-00001.parquet",
    )
    parts = read(name, "hf", tmp_path)
    assert set(parts) == set(splits)
    for images in parts.values():
        assert follow(images)
        assert sorted(images.labels.tolist()) == list(range(len(names)))


@pytest.mark.parametrize("place", ["default/{split}/0000.parquet", "data/{split}.parquet"])
def test_other_layouts_of_parquet_files(place, tmp_path):
    formats.hub(
        tmp_path, "tanganke/cifar10", dataset("CIFAR10").labels, {"train": 20, "test": 10}, place=place
    )
    formats.hub(tmp_path, "tanganke/cifar10", dataset("CIFAR10").labels, {"test_contrast": 30}, place=place)
    assert len(read("CIFAR10", "hf", tmp_path)["test"].labels) == 10


def test_labels_of_the_hub_are_matched_by_name(tmp_path):
    """Alphabetical copies of FER2013 put neutral before sad, Kaggle's files do not: a silent trap."""
    alphabetical = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    formats.hub(
        tmp_path,
        "Jeneral/fer-2013",
        alphabetical,
        {"train": 14, "test": 7},
        image="img_bytes",
        label="labels",
        binary=True,
    )
    images = read("FER2013", "hf", tmp_path)["train"]
    assert images.labels[:7].tolist() == [0, 1, 2, 3, 6, 4, 5]
    assert [dataset("FER2013").labels[i] for i in images.labels[:7]] == alphabetical


@pytest.mark.parametrize("case", ["underscores", "lower case"])
def test_spellings_of_breeds(case, tmp_path):
    names = [
        n.replace(" ", "_") if case == "underscores" else n.lower() for n in dataset("OxfordIIITPet").labels
    ]
    formats.hub(tmp_path, "timm/oxford-iiit-pet", names, {"train": 37, "test": 37})
    assert follow(read("OxfordIIITPet", "hf", tmp_path)["test"])


def test_spellings_do_not_collide():
    from taskbasis.data.vision.catalog import CONTROL, TASKS

    for name in (*TASKS, CONTROL):
        labels = [spelling(label) for label in dataset(name).labels]
        assert len(set(labels)) == len(labels), name
        if name != CONTROL:  # its prompts have two names twice; its folders are numbered
            flat = [s for spellings in dataset(name).spellings for s in spellings]
            assert len(set(flat)) == len(flat), name


def test_permuted_class_names_are_refused(tmp_path, any_md5):
    names = list(dataset("CIFAR100").labels)
    names[3], names[4] = names[4], names[3]
    formats.cifar100(tmp_path, names)
    with pytest.raises(DataError, match="calls class 3 'beaver', which should be 'bear'"):
        read("CIFAR100", "torchvision", tmp_path)


def test_classes_of_something_else_are_refused(tmp_path):
    formats.hub(tmp_path, "tanganke/cifar10", [f"x{i}" for i in range(10)], {"train": 10, "test": 10})
    with pytest.raises(DataError, match=r"not those of the dataset; unknown: x0, x1.*; lacking: airplane"):
        read("CIFAR10", "hf", tmp_path)
    names = [name for name in formats.file_labels("SUN397") if name != "z_zoo"][:-1]
    formats.sun397(tmp_path, names)
    with pytest.raises(DataError, match="lacking"):
        read("SUN397", "folder", tmp_path)


def test_a_download_that_broke_off_is_refused(tmp_path):
    formats.svhn(tmp_path)  # a file, but not the one whose md5 torchvision knows
    with pytest.raises(DataError, match=r"SVHN: torchvision cannot read .*corrupted.*prepare again"):
        read("SVHN", "torchvision", tmp_path)
    formats.hub(tmp_path, "tanganke/dtd", dataset("DTD").labels, {"train": 47, "test": 47})
    (path,) = (tmp_path / "hub/tanganke--dtd/data").glob("train*")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"the parquet files of train in .* cannot be read.*prepare again"):
        read("DTD", "hf", tmp_path)


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    formats.eurosat(tmp_path)
    images = read("EuroSAT", "folder", tmp_path)["test"]
    path = images.paths[3]
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"{path} is not a picture that can be decoded"):
        images.picture(3)


def test_palettes_become_rgb_and_grey_stays_grey(tmp_path):
    from PIL import Image

    for part in ("train", "test"):
        formats.folder_images(tmp_path / f"CIFAR10/{part}", dataset("CIFAR10").labels, 1, kind="png")
    Image.new("P", (9, 9)).save(tmp_path / "CIFAR10/train/airplane/airplane_0_000.png")
    Image.new("L", (9, 9)).save(tmp_path / "CIFAR10/train/bird/bird_0_000.png")
    images = read("CIFAR10", "folder", tmp_path)["train"]
    assert (images.picture(0).mode, images.picture(2).mode) == ("RGB", "L")
