import itertools
import math

import pytest
import torch

from taskbasis.data.mini.suite import MiniSuite, ShiftedPixels
from taskbasis.data.pixels import Pixels
from taskbasis.errors import ConfigError, TrainingError
from taskbasis.models.clip import image_encoder
from taskbasis.models.tiny_clip import TinyClip
from taskbasis.trainer import quiet_trainer
from taskbasis.training.data import FinetuneData, TrainingSteps
from taskbasis.training.module import FineTuner
from taskbasis.training.recipe import Recipe, cosine_with_warmup

RECIPE = {
    "lr": 1e-3,
    "weight_decay": 0.1,
    "batch_size": 8,
    "epochs": 2,
    "max_steps": None,
    "warmup": 0.1,
    "grad_clip": 1.0,
}


def pixels(count=20):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Pixels(images, torch.arange(count) % 4)


def steps(seed=0, count=20, batch_size=8, length=9):
    return TrainingSteps(ShiftedPixels(pixels(count), 2), batch_size=batch_size, steps=length, seed=seed)


def tuner(total=9, **changes):
    head = torch.randn(
        4, TinyClip().load().model.visual.output_dim, generator=torch.Generator().manual_seed(1)
    )
    recipe = Recipe(**RECIPE | changes)
    return FineTuner(image_encoder(TinyClip()), head, recipe, steps=total, task="demo")


def fit(module, data):
    trainer = quiet_trainer(max_steps=len(data), gradient_clip_val=module.recipe.grad_clip)
    trainer.fit(module, FinetuneData(data))
    return module


class TestSteps:
    def test_a_batch_depends_on_seed_and_step_alone(self):
        forwards = [steps()[i] for i in range(9)]
        backwards = [steps()[i] for i in reversed(range(9))][::-1]
        for (a, la, _), (b, lb, _) in zip(forwards, backwards, strict=True):
            assert torch.equal(a, b)
            assert torch.equal(la, lb)
        assert not torch.equal(forwards[0][0], steps(seed=1)[0][0])

    def test_each_epoch_sees_every_image_once_in_another_order(self):
        data = TrainingSteps(ShiftedPixels(pixels(), 0), batch_size=8, steps=6, seed=0)
        epochs = [torch.cat([data[i][0] for i in range(3 * e, 3 * e + 3)]) for e in range(2)]
        original = {image.numpy().tobytes() for image in pixels().images}
        for epoch in epochs:
            assert {image.numpy().tobytes() for image in epoch} == original
        assert not torch.equal(*epochs)

    def test_global_randomness_is_neither_used_nor_changed(self):
        torch.manual_seed(1)
        first = steps()[4][0]
        expected = torch.rand(1)
        torch.manual_seed(1)
        assert torch.equal(torch.rand(1), expected)
        torch.manual_seed(2)
        assert torch.equal(steps()[4][0], first)

    def test_augmentation_rolls_each_image_by_at_most_the_shift(self):
        source = pixels(6)
        images, labels = ShiftedPixels(source, 2).batch(torch.arange(6), torch.Generator().manual_seed(3))
        assert torch.equal(labels, source.labels)
        moves = []
        for before, after in zip(source.images, images, strict=True):
            (move,) = [
                (y, x)
                for y in range(-2, 3)
                for x in range(-2, 3)
                if torch.equal(before.roll((y, x), dims=(1, 2)), after)
            ]
            moves.append(move)
        assert len(set(moves)) > 1

    def test_no_shift_is_no_augmentation(self):
        images, _ = ShiftedPixels(pixels(6), 0).batch(torch.arange(6), torch.Generator())
        assert torch.equal(images, pixels(6).images)


class TestRecipe:
    def test_length_from_epochs_or_steps(self):
        assert Recipe(**RECIPE).steps(20) == 6
        assert Recipe(**RECIPE | {"max_steps": 50}).steps(20) == 50

    @pytest.mark.parametrize(
        ("warmup", "total", "expected"), [(0.1, 100, 10), (500, 2000, 500), (500, 400, 200), (0, 10, 0)]
    )
    def test_warmup_is_clamped_to_half_the_run(self, warmup, total, expected):
        assert Recipe(**RECIPE | {"warmup": warmup}).warmup_steps(total) == expected

    def test_schedule_rises_to_one_and_falls_towards_zero(self):
        factors = [cosine_with_warmup(step, 10, 100) for step in range(100)]
        assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
        assert factors[10] == 1.0
        assert all(a > b for a, b in itertools.pairwise(factors[10:]))
        assert factors[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))

    @pytest.mark.parametrize(
        "bad",
        [{"lr": 0}, {"batch_size": 0}, {"epochs": 0}, {"warmup": -1}, {"max_steps": 0}, {"grad_clip": -1}],
    )
    def test_values_out_of_range_are_named(self, bad):
        with pytest.raises(ConfigError, match=rf"finetune\.{next(iter(bad))}="):
            Recipe(**RECIPE | bad)

    def test_a_length_is_needed(self):
        with pytest.raises(ConfigError, match=r"finetune\.epochs and finetune\.max_steps"):
            Recipe(**RECIPE | {"epochs": None})


class TestFineTuner:
    def test_trains_the_whole_image_encoder_and_nothing_else(self):
        module = tuner()
        before = {k: v.clone() for k, v in module.encoder.state_dict().items()}
        head = module.head.clone()
        fit(module, steps())
        after = module.encoder.state_dict()
        assert set(after) == set(before)
        assert all(name.startswith("visual.") for name in after)
        assert [name for name in after if torch.equal(before[name], after[name])] == []
        assert torch.equal(module.head, head)

    def test_loss_falls_on_a_small_set(self):
        data = TrainingSteps(ShiftedPixels(pixels(8), 0), batch_size=8, steps=30, seed=0)
        module = tuner(total=30)
        images, labels, _ = data[0]
        start = torch.nn.functional.cross_entropy(module(images), labels).item()
        fit(module, data)
        assert module.last_loss < 0.5 * start

    def test_same_seed_same_weights(self):
        a, b, c = (fit(tuner(), steps(seed)).encoder.state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(a[k], b[k]) for k in a)
        assert not all(torch.equal(a[k], c[k]) for k in a)

    def test_a_loss_that_is_not_finite_names_task_and_step(self):
        module = tuner()
        module.head.fill_(float("inf"))
        with pytest.raises(TrainingError, match=r"'demo': the loss is nan at step 0 of 9"):
            fit(module, steps())

    def test_gradients_are_clipped(self):
        module = tuner(grad_clip=1e-3)
        norms = []

        class Watch(torch.optim.AdamW):
            def step(self, closure=None):
                value = closure()
                grads = [p.grad.norm() for g in self.param_groups for p in g["params"]]
                norms.append(float(torch.stack(grads).norm()))
                super().step()
                return value

        module.configure_optimizers = lambda: Watch(module.encoder.parameters(), lr=1e-3)
        fit(module, steps())
        assert max(norms) <= 1e-3 * (1 + 1e-4)


def test_mini_suite_refuses_a_negative_shift():
    with pytest.raises(ConfigError, match=r"suite\.shift=-1"):
        MiniSuite(shift=-1)
