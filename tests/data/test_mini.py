from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from taskbasis.data import mini
from taskbasis.data.mini import camera, drawing
from taskbasis.data.mini.canvas import Canvas, Style
from taskbasis.data.mini.photos import SPLITS
from taskbasis.data.mini.tasks import BY_NAME
from taskbasis.errors import DataError

DEV = 1000
NAMES = [spec.name for spec in (*mini.TASKS, mini.CONTROL)]


def test_the_suite_has_twenty_distinct_tasks() -> None:
    names = [spec.name for spec in mini.TASKS]
    assert len(names) == len(set(names)) == 20
    for spec in (*mini.TASKS, mini.CONTROL):
        assert len(spec.classes) == len(set(spec.classes)) >= 5
        assert all(template.count("{}") == 1 for template in spec.templates)


def test_control_has_three_classes_of_every_family() -> None:
    assert len(mini.CONTROL.classes) == 3 * len(mini.TASKS)
    assert mini.CONTROL.name not in {spec.name for spec in mini.TASKS}


@pytest.mark.parametrize("task", NAMES)
def test_drawings_are_deterministic_and_prefixes_of_longer_splits(task: str) -> None:
    images, labels = mini.draw_split(task, "val", 12, seed=DEV)
    again, labels_again = mini.draw_split(task, "val", 5, seed=DEV)
    assert images.shape == (12, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert torch.equal(images[:5], again)
    assert torch.equal(labels[:5], labels_again)


@pytest.mark.parametrize("task", NAMES)
def test_an_image_does_not_depend_on_the_others(task: str) -> None:
    images, labels = mini.draw_split(task, "test", 4, seed=DEV)
    for index in (3, 0):
        pixels, label = mini.draw_image(task, "test", index, seed=DEV)
        assert np.array_equal(images[index].numpy(), pixels)
        assert labels[index] == label


def test_global_random_state_is_neither_read_nor_moved() -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first, _ = mini.draw_split("signs", "train", 3, seed=DEV)
    assert np.array_equal(before, np.random.get_state()[1])
    np.random.seed(2)
    assert torch.equal(first, mini.draw_split("signs", "train", 3, seed=DEV)[0])


@pytest.mark.parametrize("task", NAMES)
def test_every_prefix_covers_the_classes(task: str) -> None:
    classes = len(next(spec for spec in (*mini.TASKS, mini.CONTROL) if spec.name == task).classes)
    _, labels = mini.draw_split(task, "test", classes, seed=DEV)
    assert sorted(labels.tolist()) == list(range(classes))


def test_splits_and_seeds_differ() -> None:
    drawn = {
        (split, seed): mini.draw_split("shapes", split, 2, seed)[0]
        for split in SPLITS
        for seed in (DEV, DEV + 1)
    }
    images = list(drawn.values())
    assert all(not torch.equal(a, b) for i, a in enumerate(images) for b in images[:i])


@pytest.mark.parametrize("name", list(BY_NAME))
def test_classes_look_different_on_clean_sheets(name: str) -> None:
    family = BY_NAME[name]
    sheets = []
    for label in range(len(family.spec.classes)):
        canvas = Canvas(np.random.default_rng(0), Style.CLEAN)
        family.draw(canvas, label)
        sheets.append(canvas.image.tobytes())
    assert len(set(sheets)) == len(sheets)


def test_handwriting_splits_share_no_scan() -> None:
    from taskbasis.data.mini import photos

    scans = {split: {photos.scan(3, split, k).tobytes() for k in range(300)} for split in SPLITS}
    assert not scans["train"] & scans["test"]
    assert not scans["val"] & scans["test"]


@pytest.mark.parametrize("task", NAMES)
def test_shipped_fingerprints_match_or_say_what_changed(task: str) -> None:
    message = mini.drawing_changes(task)
    assert message is None or (task in message and "\n" not in message)


def test_changed_drawings_are_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(BY_NAME["clocks"], camera=camera.FADED)
    monkeypatch.setitem(drawing.BY_NAME, "clocks", other)
    message = mini.drawing_changes("clocks")
    assert message is not None
    assert "'clocks'" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("task", "split", "expected"), [("horses", "test", "clocks"), ("clocks", "dev", "train")]
)
def test_unknown_names_are_refused_with_what_is_allowed(task: str, split: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        mini.draw_split(task, split, 1)
