from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbasis.evaluation.counts import Count
from taskbasis.evaluation.negation import keeps, order_of_trial

ALPHAS = [k / 10 for k in range(11)]


@given(
    targets=st.lists(st.integers(0, 20), min_size=11, max_size=11),
    controls=st.lists(st.integers(0, 100), min_size=11, max_size=11),
)
def test_the_first_feasible_one_in_the_order_of_trial_is_the_answer_of_the_full_grid(targets, controls):
    controls[0] = 90
    zeroshot = Count(90, 100)
    feasible = [i for i in range(11) if keeps(Count(controls[i], 100), zeroshot, Fraction(19, 20))]
    best = min(feasible, key=lambda i: (targets[i], ALPHAS[i]))
    order = order_of_trial(ALPHAS, [Count(t, 20) for t in targets])
    assert next(i for i in order if i in feasible) == best


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
