"""Small datasets in the true on-disk formats of the twenty tasks and their control, and small models.

Pictures are noise around a brightness that follows the label, so that classes can be told apart.
"""

import csv
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import open_clip
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

TASKS = Path(__file__).resolve().parents[1] / "taskbasis" / "data" / "vision" / "tasks"


def described(name):
    return yaml.safe_load((TASKS / f"{name}.yaml").read_text())


def file_labels(name):
    """What files call the classes."""
    content = described(name)
    return content.get("labels", content["classes"])


def pictures(labels, size, channels=3, seed=0, classes=None):
    """uint8 of shape (n, size, size[, channels]), all different."""
    rng = np.random.default_rng([seed, len(labels), size])
    shape = (len(labels), size, size) + ((channels,) if channels else ())
    levels = np.asarray(labels) * 150 // (classes or max(2, int(np.max(labels)) + 1))
    noise = rng.integers(0, 100, shape)
    return (noise + levels.reshape(-1, *[1] * (len(shape) - 1))).astype(np.uint8)


def balanced(count, classes):
    return [i % classes for i in range(count)]


def save(array, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


# idx: MNIST, FashionMNIST, KMNIST, EMNIST


def idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + np.ascontiguousarray(array, dtype=np.uint8).tobytes())


def mnist(folder, train=40, test=20, classes=10, prefix="", first=0, seed=0, transposed=False):
    """Also Fashion-MNIST, KMNIST and, with a prefix, EMNIST, whose pictures are transposed."""
    for part, count, number in (("train", train, 1), ("t10k", test, 2)):
        name = part if not prefix else {"train": f"{prefix}-train", "t10k": f"{prefix}-test"}[part]
        labels = np.asarray(balanced(count, classes)) + first
        images = pictures(labels - first, 28, None, seed + number, classes)
        images[:, :14] //= 2  # the upper half is dark, so that a turn is seen
        if transposed:
            images = images.transpose(0, 2, 1)
        idx(folder / f"{name}-images-idx3-ubyte", images)
        idx(folder / f"{name}-labels-idx1-ubyte", labels)


# pickles: CIFAR


def cifar(folder, classes, key, meta, names, meta_key, batches, train=50, test=20):
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: train // len(batches) for name in batches}
    for number, (name, count) in enumerate({**parts, names["test"]: test}.items()):
        labels = [(i + number) % classes for i in range(count)]
        data = pictures(labels, 32, 3, number, classes).transpose(0, 3, 1, 2).reshape(count, -1)
        (folder / name).write_bytes(pickle.dumps({"data": data, key: labels}))
    (folder / meta).write_bytes(pickle.dumps({meta_key: names["classes"]}))


def cifar10(root):
    names = {"test": "test_batch", "classes": described("CIFAR10")["classes"]}
    batches = [f"data_batch_{i}" for i in range(1, 6)]
    cifar(root / "cifar10/cifar-10-batches-py", 10, "labels", "batches.meta", names, "label_names", batches)


def cifar100(root, classes=None):
    names = {"test": "test", "classes": classes or described("CIFAR100")["classes"]}
    folder = root / "cifar100/cifar-100-python"
    cifar(folder, 100, "fine_labels", "meta", names, "fine_label_names", ["train"], 200, 100)


# MATLAB: SVHN, Flowers102, Cars


def svhn(root, train=40, test=20):
    from scipy.io import savemat

    (root / "svhn").mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("test", test)):
        labels = np.asarray(balanced(count, 10))
        images = pictures(labels, 32, 3, count, 10).transpose(1, 2, 3, 0)
        # The digit 0 has the label 10.
        stored = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(root / f"svhn/{part}_32x32.mat", {"X": images, "y": stored})


def flowers(root, train=204, test=102):
    from scipy.io import savemat

    folder = root / "flowers102/flowers-102"
    total = train + test
    labels = np.asarray(balanced(total, 102))
    for number, picture in enumerate(pictures(labels, 20, 3, 1, 102), start=1):
        save(picture, folder / f"jpg/image_{number:05d}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": (labels + 1)[None]})
    ids = np.arange(1, total + 1)
    train_ids, test_ids = ids[:train], ids[train:]
    savemat(folder / "setid.mat", {"trnid": train_ids[None], "valid": ids[:1][None], "tstid": test_ids[None]})


def cars(root, train=196, test=196, classes=None):
    from scipy.io import savemat

    folder = root / "stanford_cars"
    names = classes or described("Cars")["classes"]
    (folder / "devkit").mkdir(parents=True)
    savemat(folder / "devkit/cars_meta.mat", {"class_names": np.array(names, dtype=object)})
    for part, count, place in (
        ("train", train, folder / "devkit/cars_train_annos.mat"),
        ("test", test, folder / "cars_test_annos_withlabels.mat"),
    ):
        labels = balanced(count, 196)
        annotations = np.zeros(count, dtype=[("fname", object), ("class", object)])
        for i, picture in enumerate(pictures(labels, 24, 3, count + (part == "test"), 196)):
            save(picture, folder / f"cars_{part}/{i:05d}.jpg")
            annotations[i] = (f"{i:05d}.jpg", labels[i] + 1)
        savemat(place, {"annotations": annotations})


# binary: STL10


def stl10(root, train=40, test=20, classes=None):
    folder = root / "stl10/stl10_binary"
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("test", test)):
        labels = np.asarray(balanced(count, 10))
        images = pictures(labels, 96, 3, count, 10).transpose(0, 3, 2, 1)  # columns first
        (folder / f"{part}_X.bin").write_bytes(np.ascontiguousarray(images).tobytes())
        (folder / f"{part}_y.bin").write_bytes((labels + 1).astype(np.uint8).tobytes())
    (folder / "unlabeled_X.bin").write_bytes(b"")
    (folder / "fold_indices.txt").write_text("")
    (folder / "class_names.txt").write_text("\n".join(classes or described("STL10")["classes"]) + "\n")


# HDF5: PCAM


def pcam(root, train=40, test=20):
    import h5py

    folder = root / "PCAM/pcam"
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("test", test)):
        labels = balanced(count, 2)
        stem = folder / f"camelyonpatch_level_2_split_{part}"
        with h5py.File(f"{stem}_x.h5", "w") as file:
            file["x"] = pictures(labels, 96, 3, count)
        with h5py.File(f"{stem}_y.h5", "w") as file:
            file["y"] = np.asarray(labels, dtype=np.uint8).reshape(-1, 1, 1, 1)


# lists and folders: DTD, GTSRB, Pets, Food101, SST2, FER2013


def dtd(root, per_class=2):
    names = described("DTD")["classes"]
    folder = root / "dtd/dtd"
    (folder / "labels").mkdir(parents=True)
    for number, part in enumerate(("train", "val", "test")):
        lines = [f"{name}/{name}_{number}{i}.jpg" for name in names for i in range(per_class)]
        labels = [names.index(line.split("/")[0]) for line in lines]
        for line, picture in zip(lines, pictures(labels, 20, 3, number, 47), strict=True):
            save(picture, folder / "images" / line)
        (folder / f"labels/{part}1.txt").write_text("\n".join(lines) + "\n")


def gtsrb(root, train=86, test=43):
    folder = root / "gtsrb"
    labels = balanced(train, 43)
    for i, picture in enumerate(pictures(labels, 20, 3, 1, 43)):
        save(picture, folder / f"GTSRB/Training/{labels[i]:05d}/{i:05d}_00000.ppm")
    labels = balanced(test, 43)
    rows = []
    for i, picture in enumerate(pictures(labels, 20, 3, 2, 43)):
        save(picture, folder / f"GTSRB/Final_Test/Images/{i:05d}.ppm")
        rows.append({"Filename": f"{i:05d}.ppm", "ClassId": labels[i]})
    with (folder / "GT-final_test.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["Filename", "ClassId"], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)


def pets(root, train=74, test=37):
    """Cats' names begin with a capital, dogs' do not; numbers are alphabetical without regard to that."""
    folder = root / "OxfordIIITPet/oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    names = [name.replace(" ", "_").lower() for name in described("OxfordIIITPet")["classes"]]
    for part, count, number in (("trainval", train, 1), ("test", test, 2)):
        labels = balanced(count, 37)
        lines = []
        for i, picture in enumerate(pictures(labels, 20, 3, number, 37)):
            image_id = f"{names[labels[i]]}_{number}{i}"
            save(picture, folder / f"images/{image_id}.jpg")
            lines.append(f"{image_id} {labels[i] + 1} 1 1")
        (folder / f"annotations/{part}.txt").write_text("\n".join(lines) + "\n")


def food101(root, per_class=1):
    folder = root / "food101/food-101"
    (folder / "meta").mkdir(parents=True)
    names = described("Food101")["classes"]
    for number, (part, count) in enumerate((("train", 2 * per_class), ("test", per_class))):
        meta = {name: [f"{name}/{number}{i}" for i in range(count)] for name in names}
        flat = [place for places in meta.values() for place in places]
        labels = [names.index(place.split("/")[0]) for place in flat]
        for place, picture in zip(flat, pictures(labels, 20, 3, number, 101), strict=True):
            save(picture, folder / f"images/{place}.jpg")
        (folder / f"meta/{part}.json").write_text(json.dumps(meta))


def sst2(root, train=40, test=20):
    for number, (part, count) in enumerate((("train", train), ("test", test))):
        folder_images(
            root / f"RenderedSST2/rendered-sst2/{part}", ["negative", "positive"], count // 2, number, "png"
        )


def fer2013(root, train=70, test=28):
    """Kaggle's file: pixels as text; the test set is the public and the private one."""
    folder = root / "fer2013"
    folder.mkdir(parents=True, exist_ok=True)
    usages = ["Training"] * train + ["PublicTest"] * (test // 2) + ["PrivateTest"] * (test // 2)
    labels = balanced(len(usages), 7)
    with (folder / "fer2013.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "pixels", "Usage"])
        for label, picture, usage in zip(labels, pictures(labels, 48, None, 0, 7), usages, strict=True):
            writer.writerow([label, " ".join(map(str, picture.reshape(-1))), usage])


def folder_images(folder, names, per_class, seed=0, kind="jpg", size=20):
    labels = [i for i in range(len(names)) for _ in range(per_class)]
    for number, picture in enumerate(pictures(labels, size, 3, seed, len(names))):
        name = names[labels[number]]
        save(picture, folder / name / f"{name}_{seed}_{number % per_class:03d}.{kind}")


def eurosat(root, val="val"):
    for number, part in enumerate(("train", val, "test")):
        folder_images(root / f"EuroSAT_splits/{part}", file_labels("EuroSAT"), 4 - number, number)


def sun397(root, names=None):
    for number, (part, count) in enumerate((("train", 2), ("val", 1))):
        folder_images(root / f"sun397/{part}", names or file_labels("SUN397"), count, number)


def resisc45(root):
    folder = root / "resisc45"
    folder_images(folder / "NWPU-RESISC45", file_labels("RESISC45"), 4)
    names = sorted(path.name for path in folder.rglob("*.jpg"))
    (folder / "resisc45-train.txt").write_text("\n".join(n for n in names if n[-7:-4] < "002") + "\n")
    (folder / "resisc45-test.txt").write_text("\n".join(n for n in names if n[-7:-4] == "002") + "\n")


def imagenet(root, train=False):
    names = file_labels("ImageNet")
    folder_images(root / "imagenet/val_in_folder", names, 1, 1, "JPEG", size=8)
    if train:
        folder_images(root / "imagenet/train", names, 1, 2, "JPEG", size=8)


# parquet: copies on the Hub


def hub(
    root,
    repo,
    names,
    sizes,
    image="image",
    label="label",
    place="data/{split}-00000-of-00001.parquet",
    **options,
):
    """Tables as ``datasets`` uploads them: encoded pictures, and class names in the schema."""
    import io

    import datasets

    size, mode, values = options.get("size", 24), options.get("channels", 3), options.get("binary", False)
    for seed, (split, count) in enumerate(sizes.items()):
        labels = balanced(count, len(names))
        encoded = []
        for picture in pictures(labels, size, mode, seed, len(names)):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, format="PNG")
            encoded.append(buffer.getvalue())
        kind = datasets.Value("binary") if values else datasets.Image()
        column = encoded if values else [{"bytes": content, "path": None} for content in encoded]
        features = datasets.Features({image: kind, label: datasets.ClassLabel(names=names)})
        table = datasets.Dataset.from_dict({image: column, label: labels}, features=features)
        path = root / "hub" / repo.replace("/", "--") / place.format(split=split)
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path)


def all_of_them(root):
    """All twenty tasks and the control, small; what torchvision compares with an md5 comes from the Hub."""
    cars(root)
    dtd(root, per_class=1)
    eurosat(root)
    gtsrb(root)
    mnist(root / "mnist/MNIST/raw")
    resisc45(root)
    pets(root)
    pcam(root)
    mnist(root / "EMNIST/EMNIST/raw", prefix="emnist-digits", transposed=True)
    food101(root)
    mnist(root / "FashionMNIST/FashionMNIST/raw", seed=5)
    sst2(root)
    mnist(root / "KMNIST/KMNIST/raw", seed=9)
    for name in ("SVHN", "SUN397", "CIFAR100", "STL10", "Flowers102", "CIFAR10"):
        settings = described(name)["sources"]["hf"]
        label, place = settings.get("label", "label"), settings.get("subset", "data")
        names, sizes = described(name)["classes"], {"train": 40, "test": 20}
        hub(
            root, settings["repo"], names, sizes, label=label, place=place + "/{split}-00000-of-00001.parquet"
        )
    names = described("FER2013")["labels"]
    sizes = {"train": 40, "test": 20}
    hub(root, "Jeneral/fer-2013", names, sizes, image="img_bytes", label="labels", binary=True, channels=None)
    names = [f"{name}, {i}" for i, name in enumerate(described("ImageNet")["classes"])]
    hub(root, "ILSVRC/imagenet-1k", names, {"validation": 60})


def random_clip(folder, embed_dim, vision):
    """A model folder of open_clip: random weights, an image side as it is told and a small text side."""
    folder.mkdir()
    config = {
        "embed_dim": embed_dim,
        "vision_cfg": vision,
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    preprocess = {
        "mean": list(open_clip.OPENAI_DATASET_MEAN),
        "std": list(open_clip.OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    content = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder
