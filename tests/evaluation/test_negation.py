from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbasis.evaluation.counts import Count
from taskbasis.evaluation.negation import Rule, keeps, negation
from taskbasis.evaluation.scoring import Bench
from taskbasis.evaluation.single import SingleScores
from taskbasis.tracking.results import chosen_point

ALPHAS = tuple(k / 10 for k in range(11))
ZEROSHOT = {"target": Count(12, 20), "control": Count(90, 100)}


class Table:
    """Scores from tables of counts by task and α, in place of models."""

    def __init__(self, counts):
        self.counts = counts

    def report(self, event):
        """Progress is of no interest."""

    def score(self, request):
        return tuple(self.counts[request.pixels][-alpha] for alpha in request.alphas)

    def scores(self, requests, workers):
        return [self.score(request) for request in requests]

    def map(self, function, items, stage, workers):
        return [function(self, item) for item in items]


class AnyFile:
    def file(self, name):
        return name

    sha256 = file


def negate(alphas, targets, controls):
    """The protocol on one task whose counts at α are given, as it stands in results."""
    counts = {"target": dict(zip(alphas, targets, strict=True))}
    counts["control"] = dict(zip(alphas, controls, strict=True)) | {-0.0: ZEROSHOT["control"]}
    bench = Bench(AnyFile(), dict.fromkeys(counts), {n: {"val": n, "test": n} for n in counts})
    zeroshot = {split: {"target": ZEROSHOT["target"]} for split in ("val", "test")}
    return negation(
        Table(counts),
        None,
        bench=bench,
        rule=Rule(alphas, "control", Fraction(19, 20)),
        vectors={"target": None},
        single=SingleScores(zeroshot, {}),
    ).as_dict()["tasks"]["target"]


@given(
    alphas=st.sampled_from([ALPHAS, ALPHAS[1:], (1.0,), (0.0,)]),
    targets=st.lists(st.integers(0, 20), min_size=11, max_size=11),
    controls=st.lists(st.integers(0, 100), min_size=11, max_size=11),
)
def test_the_choice_is_that_of_the_full_grid_and_of_the_zero_shot_model(alphas, targets, controls):
    """Also where no α of the grid keeps the control, and where the grid leaves α = 0 out."""
    targets, controls = ([Count(c, n) for c in drawn] for drawn, n in ((targets, 20), (controls, 100)))
    found = negate(alphas, targets[: len(alphas)], controls[: len(alphas)])
    grid = {a: (t, c) for a, t, c in zip(alphas, targets, controls, strict=False) if a != 0.0}
    grid[0.0] = (ZEROSHOT["target"], ZEROSHOT["control"])
    feasible = [a for a, (_, control) in grid.items() if 20 * control.correct >= 19 * 90]
    best = min(feasible, key=lambda a: (grid[a][0].correct, a))
    assert found["alpha"] == best
    assert [point["alpha"] for point in found["curve"]] == sorted(grid)
    assert chosen_point(found) == {
        "alpha": best,
        "target": grid[best][0].as_dict(),
        "control": grid[best][1].as_dict(),
    }


def test_the_threshold_is_compared_exactly():
    """19/20 of 100 is 95: 95 keeps it and 94 does not, without a rounding in between."""
    assert keeps(Count(95, 100), Count(100, 100), Fraction(19, 20))
    assert not keeps(Count(94, 100), Count(100, 100), Fraction(19, 20))
    assert keeps(Count(19, 300), Count(20, 300), Fraction("0.95"))


@pytest.fixture(scope="module")
def both(run_own):
    return run_own("evaluation=all", "basis=pca", "M=1", "search.points=5")


def test_result_holds_both_protocols(both):
    negation = both["protocols"]["negation"]
    assert list(negation["tasks"]) == both["tasks"]
    assert (negation["control"], negation["threshold"]) == ("mixture", 0.95)
    assert "addition" in both["protocols"]
    for task in negation["tasks"].values():
        assert [point["alpha"] for point in task["curve"]] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_alpha_zero_is_the_zero_shot_model(both):
    for name, task in both["protocols"]["negation"]["tasks"].items():
        assert task["curve"][0]["target"] == both["single"]["zeroshot"][name]["val"]


def test_same_choice_and_counts_as_the_full_grid_over_the_whole_control_set(both, own_store):
    """Every α scored on the control with plain requests; the protocol scored only some of them."""
    import json

    from taskbasis.builders import build_plan
    from taskbasis.config import compose
    from taskbasis.data.preparation import PixelJob, prepare
    from taskbasis.evaluation.scoring import Bench, Request, Scoring, Weights
    from taskbasis.models.stages import ENCODER, pretrained_and_heads
    from taskbasis.parallel import workers
    from taskbasis.store import Store

    plan = build_plan(compose(["+smoke=true", "trainer=cpu", "tracker=none", f"paths.store={own_store}"]))
    store, control = plan.store, plan.suite.control
    theta0, heads = pretrained_and_heads(store, plan.clip, [control])
    pixels = prepare(
        PixelJob(store, plan.suite, control.name, ("val", "test"), train=False), lambda event: None
    )
    bench = Bench(theta0, heads, {control.name: pixels})
    (folder,) = [
        path
        for path in Store(own_store).artifacts()
        if path.parent.name == "vectors"
        and json.loads((path / "manifest.json").read_text())["key"]["names"] == both["tasks"]
    ]
    negation = both["protocols"]["negation"]
    zero = negation["control_zeroshot"]["val"]
    scoring = Scoring(store, plan.clip, 200, plan.compute)
    alphas = tuple(-point["alpha"] for point in negation["tasks"][both["tasks"][0]]["curve"])
    for task in both["tasks"]:
        outcome = negation["tasks"][task]
        sha = json.loads((folder / "manifest.json").read_text())["files"][f"{task}.safetensors"]["sha256"]
        vector = Weights(folder / f"{task}.safetensors", sha)
        request = Request(
            "control", "", Weights.of(theta0, ENCODER), heads[control.name], pixels["val"], vector, alphas
        )
        with workers(1, 1, lambda event: None) as pool:
            (grid,) = scoring.scores([request], pool)
        targets = [point["target"]["correct"] for point in outcome["curve"]]
        feasible = [i for i, c in enumerate(grid) if 20 * c.correct >= 19 * zero["correct"]]
        best = min(feasible, key=lambda i: (targets[i], -alphas[i]))
        assert outcome["alpha"] == -alphas[best]
        for point, count in zip(outcome["curve"], grid, strict=True):
            assert point["control"] in (None, count.as_dict())
    assert negation["control_passes"] < negation["grid_control_passes"]
    assert bench.pixels[control.name] == pixels


@pytest.mark.parametrize("basis", ["exact", "random_sample", "random", "none", "ae_adam"])
def test_every_basis_runs_both_protocols(run_own, basis):
    result = run_own("evaluation=all", f"basis={basis}", "M=1", "search.points=3")
    assert result["run"]["status"] == "completed"
    again = run_own("evaluation=all", f"basis={basis}", "M=1", "search.points=3")
    assert {k: v for k, v in again.items() if k != "run"} == {k: v for k, v in result.items() if k != "run"}


def test_centred_pca_with_reconstructed_inputs_is_task_arithmetic(run_own):
    pca = run_own("basis=pca", "M=1", "merge.inputs=reconstructed")
    none = run_own("basis=none")
    tasks = run_own("basis=pca", "M=1", "merge.inputs=tasks")
    for key in ("test", "top1"):
        expected = none["protocols"]["addition"][key]
        assert pca["protocols"]["addition"][key] == expected
        assert tasks["protocols"]["addition"][key] == expected
    assert pca["protocols"]["addition"]["merge"]["inputs"] == "reconstructed"


def test_negation_without_a_basis_removes_the_task_vector_itself(run_own):
    result = run_own("evaluation=negation", "basis=none")
    assert set(result["protocols"]) == {"negation"}
    assert result["basis"]["relative_error"] == 0.0


def test_a_grid_without_zero_falls_back_to_the_zero_shot_model(run_own):
    """No task survives that α = 30 is subtracted; the control is kept by α = 0 alone."""
    line = ("search.start=30", "search.stop=30", "search.points=1")
    result = run_own("evaluation=negation", "basis=none", *line)
    assert result["run"]["status"] == "completed"
    for name, task in result["protocols"]["negation"]["tasks"].items():
        assert [point["alpha"] for point in task["curve"]] == [0.0, 30.0]
        assert task["alpha"] == 0.0
        assert task["target"] == result["single"]["zeroshot"][name]["test"]
