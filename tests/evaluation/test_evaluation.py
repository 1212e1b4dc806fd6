from fractions import Fraction

import pytest
import torch
from torch.utils.data import DataLoader

from taskbasis.errors import ConfigError
from taskbasis.evaluation.addition import AlphaPoint, choose
from taskbasis.evaluation.counts import Count, mean_normalized_top1, mean_top1
from taskbasis.evaluation.module import AlphaScorer, CorrectCount
from taskbasis.evaluation.search import Grid, best_alpha
from taskbasis.models.clip import image_encoder
from taskbasis.models.tiny_clip import TinyClip
from taskbasis.trainer import quiet_trainer


def test_the_papers_grid_is_21_points_from_0_to_1():
    assert Grid().alphas() == tuple(k / 20 for k in range(21))


def test_grids_are_configurable():
    assert Grid(stop=3.0, points=4).alphas() == (0.0, 1.0, 2.0, 3.0)
    assert Grid(start=0.3, stop=0.3, points=1).alphas() == (0.3,)


@pytest.mark.parametrize(
    "bad",
    [
        {"points": 0},
        {"start": 1.0, "stop": 0.0},
        {"points": 1},
        {"start": 0.3, "stop": 0.3},
        {"start": 0.3, "stop": 0.30000000000000004},
        {"stop": float("inf")},
        {"stop": float("nan")},
    ],
)
def test_what_is_no_grid_is_refused(bad):
    """Equal α too, since results could not say which of them was chosen."""
    with pytest.raises(ConfigError, match="are no grid"):
        Grid(**bad)


def test_ties_keep_the_smallest_alpha():
    assert best_alpha([0.0, 0.5, 1.0], [Fraction(1, 3), Fraction(2, 3), Fraction(2, 3)]) == 1
    assert best_alpha([0.0, 0.5, 1.0], [Fraction(0)] * 3) == 0


def test_scores_are_exact_where_floats_would_not_tell():
    """1/3 + 1/3 + 1/3 and 1 tie exactly; a float sum could prefer either."""
    fine = {t: Count(3, 3) for t in "abc"}
    even = {t: Count(1, 3) for t in "abc"}
    uneven = {"a": Count(3, 3), "b": Count(0, 3), "c": Count(0, 3)}
    assert mean_normalized_top1(even, fine) == mean_normalized_top1(uneven, fine) == Fraction(1, 3)
    assert choose([AlphaPoint(0.1, uneven), AlphaPoint(0.2, even)], fine) == 0.1


def test_normalized_accuracy_is_the_mean_of_ratios_not_the_ratio_of_means():
    counts = {"a": Count(5, 10), "b": Count(2, 10)}
    fine = {"a": Count(10, 10), "b": Count(4, 10)}
    assert mean_normalized_top1(counts, fine) == Fraction(1, 2)
    assert mean_top1(counts) == Fraction(7, 20)


def test_a_fine_tuned_model_that_gets_nothing_right_does_not_stop_the_run():
    counts = {"a": Count(5, 10), "b": Count(2, 10)}
    assert mean_normalized_top1(counts, {"a": Count(10, 10), "b": Count(0, 10)}) == Fraction(1, 2)
    assert mean_normalized_top1(counts, {"a": Count(0, 10), "b": Count(0, 10)}) is None
    points = [AlphaPoint(0.0, counts), AlphaPoint(0.5, {"a": Count(9, 10), "b": Count(9, 10)})]
    assert choose(points, {"a": Count(0, 10), "b": Count(0, 10)}) == 0.5


def test_correct_count_is_exact_over_batches():
    metric = CorrectCount()
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0]])
    metric.update(logits, torch.tensor([0, 1, 1]))
    metric.update(logits[:1], torch.tensor([0]))
    assert metric.compute() == (3, 4)


def test_each_alpha_is_scored_as_if_it_were_alone():
    encoder = image_encoder(TinyClip()).eval()
    theta0 = {k: v.clone() for k, v in encoder.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    vector = {k: 0.05 * torch.randn(v.shape, generator=generator) for k, v in theta0.items()}
    head = torch.randn(5, encoder.visual.output_dim, generator=generator)
    images = torch.randint(0, 256, (60, 3, 32, 32), generator=generator, dtype=torch.uint8)
    batches = [(images[:40], torch.arange(40) % 5), (images[40:], torch.arange(20) % 5)]

    def scores(*alphas):
        module = AlphaScorer(encoder, head, theta0, vector, alphas)
        loader = DataLoader(batches, batch_size=None)
        quiet_trainer().validate(module, [loader] * len(alphas), verbose=False)
        return module.totals()

    together = scores(0.0, 0.4, 1.0)
    assert together == [scores(a)[0] for a in (0.0, 0.4, 1.0)]
    assert len({c for c, _ in together}) > 1
    assert {n for _, n in together} == {60}
