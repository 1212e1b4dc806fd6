"""What the doctor says of a machine, its data, and zero-shot accuracies."""

import pytest
import vision_formats as formats

from taskbasis.data.vision.catalog import CONTROL, TASKS
from taskbasis.data.vision.expected import deviations, likely_cause, published_zeroshot
from taskbasis.doctor import main


def test_every_model_of_the_paper_has_published_accuracies():
    for model in ("ViT-B-32", "ViT-B-16", "ViT-L-14"):
        assert set(published_zeroshot(model)) == {*TASKS, CONTROL} - {"EMNIST"}
    assert published_zeroshot("RN50") == {}


def test_small_differences_and_split_dependent_tasks_are_no_deviation():
    known = dict(published_zeroshot("ViT-B-32"))
    assert deviations("ViT-B-32", known) == {}
    assert deviations("ViT-B-32", known | {"STL10": 96.0, "EuroSAT": 30.0, "EMNIST": 1.0}) == {}
    assert deviations("ViT-B-32", known | {"STL10": 90.1}) == {"STL10": pytest.approx(-7.0)}


@pytest.mark.parametrize(
    ("changes", "task", "cause"),
    [
        ({"CIFAR10": 9.0}, "CIFAR10", "near chance: labels mean other classes"),
        ({"Cars": 52.0}, "Cars", "this task alone"),
        ({"Food101": 88.0}, "Food101", "higher than published"),
    ],
)
def test_likely_causes(changes, task, cause):
    assert likely_cause("ViT-B-32", task, dict(published_zeroshot("ViT-B-32")) | changes).startswith(cause)


def test_the_wrong_activation_lowers_most_tasks():
    low = {task: value - 4 for task, value in published_zeroshot("ViT-B-16").items()}
    assert "QuickGELU" in likely_cause("ViT-B-16", "Cars", low)


def test_a_report_on_an_empty_machine(tmp_path, capsys):
    assert main(["--root", str(tmp_path / "data"), "--store", str(tmp_path / "store")]) == 1
    said = capsys.readouterr().out
    for text in ("torch", "GPU", "W&B", "Cars", "ImageNet", "GB needed", "taskbasis.data prepare"):
        assert text in said
    assert list(tmp_path.iterdir()) == []


def test_zero_shot_accuracies_of_what_is_there(tmp_path, capsys, small_clip):
    formats.eurosat(tmp_path / "data")
    formats.mnist(tmp_path / "data/mnist/MNIST/raw")
    model = [f"model.name=local-dir:{small_clip}", "model.pretrained=null", "model.quick_gelu=true"]
    places = ["--root", str(tmp_path / "data"), "--store", str(tmp_path / "store")]
    settings = ["suite.check_sizes=false", "trainer=cpu", "trainer.workers=1"]
    assert main(["--model", "open_clip", *places, "--zeroshot", *model, *settings]) == 0
    said = capsys.readouterr().out
    scores = said[said.index("published") :]
    assert "EuroSAT" in scores
    assert "MNIST" in scores
    assert "Cars" not in scores
