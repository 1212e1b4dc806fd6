"""A killed fine-tuning goes on where it was; batches in parts; the published recipe."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from taskbasis.config import compose
from taskbasis.data.mini.suite import ShiftedPixels
from taskbasis.data.pixels import Pixels
from taskbasis.data.suite import TaskSpec
from taskbasis.data.vision.catalog import TASKS, dataset
from taskbasis.errors import ConfigError, TrainingError
from taskbasis.models.stages import ENCODER, pretrained_and_heads
from taskbasis.models.tiny_clip import TinyClip
from taskbasis.parallel import workers
from taskbasis.store import Store
from taskbasis.trainer import Compute
from taskbasis.training.data import Share, TrainingSteps
from taskbasis.training.finetuning import FinetuneJob, finetune
from taskbasis.training.recipe import Recipe
from taskbasis.training.state import TensorCheckpointIO, steps_done

TASK = TaskSpec("demo", ("circle", "square", "red", "blue"), ("a {}.",))
RECIPE = Recipe(lr=1e-3, weight_decay=0.1, batch_size=8, epochs=None, max_steps=12, warmup=2, grad_clip=1.0)


class OneTask:
    name = "demo"
    tasks = (TASK,)
    control = TASK

    def training_set(self, store, task):
        return ShiftedPixels(pixels(), 2), "demo"


def pixels(count=20):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Pixels(images, torch.arange(count) % 4)


def job(folder, recipe=RECIPE, **compute):
    store = Store(folder)
    theta0, heads = pretrained_and_heads(store, TinyClip(), [TASK])
    return FinetuneJob(
        store, TinyClip(), OneTask(), TASK, theta0, heads["demo"], recipe, 0, Compute(**compute)
    )


def weights(artifact):
    return load_file(artifact.file(ENCODER))


def squared_distance(a, b):
    return sum(float((a[name] - b[name]).square().sum()) for name in a)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("recipe", [RECIPE, Recipe(**{**RECIPE.__dict__, "accumulate": 2})])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(recipe, tmp_path):
    whole = weights(finetune(job(tmp_path / "whole", recipe), lambda event: None))
    seen = []

    def kill_at_nine(event):
        seen.append(event.done)
        if event.done == 9:
            raise Killed

    broken = job(tmp_path / "broken", recipe, save_every=4)
    with pytest.raises(Killed):
        finetune(broken, kill_at_nine)
    (state,) = (tmp_path / "broken").rglob("state.safetensors")
    assert steps_done(state) == 8
    seen.clear()
    resumed = finetune(broken, lambda event: seen.append(event.done))
    assert min(seen) >= 8
    assert {k: v.tolist() for k, v in weights(resumed).items()} == {k: v.tolist() for k, v in whole.items()}
    assert not state.parent.exists()


def test_a_run_killed_again_right_after_it_went_on_ends_with_the_same_weights(tmp_path):
    """The second kill comes before the next state is due, in the midst of batches in parts."""
    recipe = Recipe(**{**RECIPE.__dict__, "accumulate": 2})
    whole = weights(finetune(job(tmp_path / "whole", recipe), lambda event: None))
    broken = job(tmp_path / "broken", recipe, save_every=4)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no memory"):
            finetune(broken, fail_at_nine)
        (state,) = (tmp_path / "broken").rglob("state.safetensors")
        assert steps_done(state) == 8
    resumed = weights(finetune(broken, lambda event: None))
    assert {k: v.tolist() for k, v in resumed.items()} == {k: v.tolist() for k, v in whole.items()}


def fail_at_nine(event):
    if event.done == 9:
        raise RuntimeError("no memory")


def test_several_devices_share_each_batch_and_go_on_too(tmp_path):
    """Two processes with half of each batch do what one does, up to rounding, also after a failure."""
    alone = job(tmp_path / "alone")
    trained = finetune(alone, lambda event: None)
    together = job(tmp_path / "together", devices=2, save_every=4)
    with pytest.raises(TrainingError, match=r"fine-tuning 'demo': RuntimeError: no memory"):
        finetune(together, fail_at_nine)
    seen = []
    with workers(1, 1, lambda event: seen.append(getattr(event, "done", 0)), apart=True) as pool:
        (resumed,) = pool.map(finetune, [together])
    assert min(seen) >= 8
    assert resumed.meta["last_loss"] == pytest.approx(trained.meta["last_loss"], rel=1e-3)
    moved = squared_distance(weights(trained), weights(alone.theta0))
    assert squared_distance(weights(trained), weights(resumed)) < 1e-5 * moved


def test_states_are_neither_part_of_keys_nor_kept(tmp_path):
    first = finetune(job(tmp_path, save_every=4), lambda event: None)
    assert finetune(job(tmp_path, save_every=0), lambda event: None).path == first.path
    assert not list(tmp_path.rglob("*.unfinished"))


def test_the_state_holds_no_pickle(tmp_path):
    path = tmp_path / "state.safetensors"
    checkpoint = {
        "global_step": 3,
        "optimizer_states": [
            {"state": {0: {"step": torch.tensor(3.0)}}, "groups": ({"lr": 0.1, "betas": (0.9, 1)},)}
        ],
        "none": None,
        "flag": True,
        "text": "å",
    }
    TensorCheckpointIO().save_checkpoint(checkpoint, path)
    assert TensorCheckpointIO().load_checkpoint(path) == checkpoint
    with safe_open(path, framework="pt") as file:
        json.loads(file.metadata()["structure"])
    with pytest.raises(TrainingError, match="the state has a set at /where"):
        TensorCheckpointIO().save_checkpoint({"where": {1}}, path)


def test_a_damaged_state_is_named(tmp_path):
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"half")
    with pytest.raises(TrainingError, match=r"state.safetensors is not the state of a run.*remove it"):
        steps_done(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(TrainingError, match="remove it"):
        steps_done(path)


@pytest.mark.parametrize(("world", "accumulate"), [(2, 1), (1, 2), (2, 3), (3, 7)])
def test_shares_of_a_step_are_its_images_and_their_weighted_mean_is_its_mean(world, accumulate):
    options = {"batch_size": 8, "steps": 6, "seed": 0}
    images = ShiftedPixels(pixels(), 2)
    whole = TrainingSteps(images, **options)
    shares = [TrainingSteps(images, **options, share=Share(rank, world, accumulate)) for rank in range(world)]
    for step in range(6):
        items = [share[step * accumulate + turn] for turn in range(accumulate) for share in shares]
        kept = [(x, y) for x, y, weight in items if weight]
        assert torch.equal(torch.cat([x for x, _ in kept]), whole[step][0])
        assert torch.equal(torch.cat([y for _, y in kept]), whole[step][1])
        mean = sum(float(y.double().mean() * weight) for _, y, weight in items) / len(items)
        assert mean == pytest.approx(float(whole[step][1].double().mean()))


def test_a_batch_in_parts_gives_the_same_model_but_for_rounding(tmp_path):
    whole, parts = (
        weights(finetune(job(tmp_path, Recipe(**{**RECIPE.__dict__, "accumulate": n})), lambda event: None))
        for n in (1, 2)
    )
    assert any(not torch.equal(whole[k], parts[k]) for k in whole)
    theta0 = weights(job(tmp_path).theta0)
    apart, moved = squared_distance(parts, whole), squared_distance(whole, theta0)
    assert apart < 1e-4 * moved


# D4 of the field notes: optimizer steps that the lineage's epochs give on its training sets.
STEPS = {
    **{"Cars": 2030, "DTD": 2052, "EuroSAT": 2028, "GTSRB": 2068, "MNIST": 2150, "RESISC45": 1995},
    **{"SVHN": 2136, "SUN397": 1960, "CIFAR100": 2112, "STL10": 2160, "Flowers102": 1176},
    **{"OxfordIIITPet": 2132, "PCAM": 2009, "FER2013": 2020, "EMNIST": 3672, "CIFAR10": 2112},
    **{"Food101": 2212, "FashionMNIST": 2150, "RenderedSST2": 1911, "KMNIST": 2150},
}


def test_the_published_recipe_has_the_published_steps():
    from taskbasis.builders import _recipe

    recipe = _recipe(compose(["finetune=paper"]).config.finetune)
    assert {t: recipe.of(t).steps(dataset(t).sizes["train"]) for t in TASKS} == STEPS
    assert (recipe.lr, recipe.weight_decay, recipe.warmup_steps(2000), recipe.grad_clip) == (
        1e-5,
        0.1,
        500,
        1.0,
    )


def test_presets():
    steps, paper = compose(["suite=vision"]).config.finetune, compose(["finetune=paper_l_14"]).config.finetune
    assert (steps.max_steps, steps.epochs) == (2000, None)
    assert (paper.accumulate, paper.epochs.Cars, paper.max_steps) == (2, 35, None)


def test_other_tasks_of_other_recipes():
    by_name = Recipe(**{**RECIPE.__dict__, "epochs": {"a": 3}, "max_steps": None})
    assert by_name.of("a").steps(20) == 9
    with pytest.raises(ConfigError, match="no entry for 'b'"):
        by_name.of("b")
    with pytest.raises(ConfigError, match=r"finetune\.epochs"):
        Recipe(**{**RECIPE.__dict__, "epochs": {"a": 0}, "max_steps": None})
    with pytest.raises(ConfigError, match=r"finetune\.accumulate"):
        Recipe(**{**RECIPE.__dict__, "accumulate": 9})


def test_what_is_not_used_is_not_part_of_the_key():
    by_name = Recipe(**{**RECIPE.__dict__, "epochs": {"a": 3}, "max_steps": 5})
    assert by_name.identity() == Recipe(**{**RECIPE.__dict__, "max_steps": 5}).identity()
