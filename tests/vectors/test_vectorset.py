import re
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from taskbasis.errors import VectorError
from taskbasis.vectors import VectorSet, layout, saving
from taskbasis.vectors.inplace import add_scaled_


def flat(tensors):
    return torch.cat([tensors[k].double().reshape(-1) for k in sorted(tensors)])


@pytest.mark.parametrize("chunk", [5, 1 << 20])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(T=st.integers(1, 6), K=st.integers(1, 4), seed=st.integers(0, 99), threads=st.integers(1, 3))
def test_combination_equals_dense(make_checkpoints, tmp_path, chunk, T, K, seed, threads):
    base, paths, dense = make_checkpoints(T=T, seed=seed)
    C = torch.randn(T, K, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "CHUNK", chunk)
        combined = VectorSet.task_vectors(base, paths).combine(C)
        for k, path in enumerate(combined.save(tmp_path / "out", threads=threads).values()):
            torch.testing.assert_close(flat(load_file(path)), dense @ C[:, k], rtol=1e-5, atol=1e-6)


def test_each_tensor_of_a_combination_is_right_to_a_millionth(make_checkpoints):
    shapes = {"big": (64, 300), "small": (5,)}
    base, paths, dense = make_checkpoints(T=20, shapes=shapes)
    c = torch.randn(20, dtype=torch.float64)
    found = VectorSet.task_vectors(base, paths).combine(c).tensors()
    expected = dict(zip(["big", "small"], (dense @ c).split([64 * 300, 5]), strict=True))
    for name, values in found.items():
        assert (values.double().reshape(-1) - expected[name]).norm() <= 1e-6 * expected[name].norm()


def test_combinations_compose(make_checkpoints):
    base, paths, dense = make_checkpoints()
    first, second = torch.randn(5, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    twice = VectorSet.task_vectors(base, paths).combine(first).combine(second)
    torch.testing.assert_close(flat(twice.tensors()), dense @ first @ second, rtol=1e-4, atol=1e-6)


def test_save_then_open_is_the_identity(make_checkpoints, tmp_path):
    base, paths, _ = make_checkpoints()
    vectors = VectorSet.task_vectors(base, paths)
    again = VectorSet.stored(vectors.save(tmp_path / "saved"))
    assert again.names == vectors.names
    assert again.layout == dict(vectors.layout)
    assert torch.equal(again.gram().matrix, vectors.gram().matrix)


def test_large_vectors_are_saved_in_shards_that_open_again(make_checkpoints, tmp_path):
    base, paths, _ = make_checkpoints(T=2)
    vectors = VectorSet.task_vectors(base, paths)
    saved = vectors.save(tmp_path / "saved", max_shard_bytes=200)
    assert all(path.name.endswith(".safetensors.index.json") for path in saved.values())
    assert torch.equal(VectorSet.stored(saved).gram().matrix, vectors.gram().matrix)


def test_saved_files_are_ordinary_safetensors_of_the_asked_dtype(make_checkpoints, tmp_path):
    base, paths, dense = make_checkpoints()
    saved = VectorSet.task_vectors(base, paths).save(tmp_path / "half", dtype=torch.bfloat16)
    tensors = load_file(saved["task2"])
    assert {t.dtype for t in tensors.values()} == {torch.bfloat16}
    assert tensors["visual.w"].shape == (7, 11)
    torch.testing.assert_close(flat(tensors), dense[:, 2], rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize(
    ("select", "chosen"),
    [
        (None, ["visual.b", "visual.deep.k", "visual.w"]),
        ("visual.d", ["visual.deep.k"]),
        (re.compile(r"\.[bw]$"), ["visual.b", "visual.w"]),
    ],
)
def test_vectors_consist_of_the_selected_floating_point_tensors(make_checkpoints, select, chosen):
    base, paths, _ = make_checkpoints()
    assert list(VectorSet.task_vectors(base, paths, select=select).layout) == chosen


class TestModels:
    def test_merged_models_are_theta0_plus_alpha_v_in_two_roundings(self, make_checkpoints, tmp_path):
        base, paths, _ = make_checkpoints()
        vectors = VectorSet.task_vectors(base, paths).combine(torch.eye(5)[:, :2], ["a", "b"])
        places = {name: tmp_path / "models" / f"{name}.safetensors" for name in ("a", "b")}
        assert vectors.save_models(places, base, 0.3) == places
        theta0 = load_file(base)
        for i, path in enumerate(places.values()):
            merged, tuned = load_file(path), load_file(paths[f"task{i}"])
            assert merged.keys() == theta0.keys()
            assert torch.equal(merged["steps"], theta0["steps"])
            for name in merged.keys() - {"steps"}:
                assert torch.equal(merged[name], (tuned[name] - theta0[name]) * 0.3 + theta0[name])

    def test_alpha_zero_is_theta0_to_the_byte(self, make_checkpoints, tmp_path):
        base, paths, _ = make_checkpoints(dtype=torch.bfloat16)
        one = VectorSet.task_vectors(base, paths).combine(torch.ones(5))
        one.save_models({"combined": tmp_path / "m.safetensors"}, base, 0.0)
        merged, theta0 = load_file(tmp_path / "m.safetensors"), load_file(base)
        assert all(torch.equal(merged[k], theta0[k]) and merged[k].dtype == theta0[k].dtype for k in theta0)

    def test_tensors_outside_the_selection_stay_those_of_theta0(self, make_checkpoints, tmp_path):
        base, paths, _ = make_checkpoints()
        one = VectorSet.task_vectors(base, paths, select="visual.d").combine(torch.ones(5))
        one.save_models({"combined": tmp_path / "m.safetensors"}, base, dtype=torch.float16)
        merged, theta0 = load_file(tmp_path / "m.safetensors"), load_file(base)
        assert torch.equal(merged["visual.w"], theta0["visual.w"].half())
        assert torch.equal(merged["steps"], theta0["steps"])
        assert not torch.equal(merged["visual.deep.k"], theta0["visual.deep.k"].half())

    def test_shards(self, make_checkpoints, tmp_path):
        base, paths, _ = make_checkpoints()
        one = VectorSet.task_vectors(base, paths).combine(torch.ones(5))
        made = one.save_models({"combined": tmp_path / "m.safetensors"}, base, max_shard_bytes=100)
        again = VectorSet.task_vectors(base, {"m": made["combined"]}).tensors()
        torch.testing.assert_close(again, one.tensors(), rtol=1e-4, atol=1e-6)

    def test_models_of_float64_are_merged_in_float64(self, make_checkpoints, tmp_path):
        base, paths, dense = make_checkpoints(dtype=torch.float64)
        vector = VectorSet.task_vectors(base, paths).combine(torch.ones(5), ["sum"])
        vector.save_models({"sum": tmp_path / "zero.safetensors"}, base, 0.0)
        zero, theta0 = load_file(tmp_path / "zero.safetensors"), load_file(base)
        assert all(torch.equal(zero[name], theta0[name]) for name in theta0)
        vector.save_models({"sum": tmp_path / "m.safetensors"}, base, 0.3)
        merged = load_file(tmp_path / "m.safetensors")
        found = torch.cat([(merged[n] - theta0[n]).reshape(-1) for n in sorted(theta0) if n != "steps"])
        torch.testing.assert_close(found, 0.3 * dense.sum(dim=1), rtol=1e-12, atol=1e-14)

    def test_another_theta0_is_refused(self, make_checkpoints, tmp_path):
        base, paths, _ = make_checkpoints()
        save_file({"visual.w": torch.ones(2)}, tmp_path / "other.safetensors")
        one = VectorSet.task_vectors(base, paths).combine(torch.ones(5))
        with pytest.raises(
            VectorError, match=r"other\.safetensors has no tensor 'visual\.b' of shape \(13,\)"
        ):
            one.save_models({"combined": tmp_path / "m.safetensors"}, tmp_path / "other.safetensors")


class TestInPlace:
    def test_merged_weights_are_computed_from_theta0_whatever_came_before(self, make_checkpoints):
        base, paths, _ = make_checkpoints(shapes={"weight": (4, 3), "bias": (4,)})
        theta0 = {k: v for k, v in load_file(base).items() if k != "steps"}
        vector = VectorSet.task_vectors(base, paths).combine(torch.ones(5))
        direct, detour = nn.Linear(3, 4), nn.Linear(3, 4)
        vector.apply_(direct, theta0, 0.3)
        for alpha in (1.0, -0.7, 0.1, 0.3):
            vector.apply_(detour, theta0, alpha)
        v = vector.tensors()
        for name, parameter in direct.named_parameters():
            assert torch.equal(parameter, detour.state_dict()[name])
            assert torch.equal(parameter, theta0[name] + 0.3 * v[name])

    def test_a_vector_for_another_model_is_refused(self):
        with pytest.raises(VectorError, match=r"no tensor 'other'"):
            add_scaled_(nn.Linear(2, 2), {}, {"other": torch.zeros(1)}, 1.0)

    def test_a_vector_of_more_than_theta0_has_is_refused(self):
        module = nn.Linear(2, 2)
        with pytest.raises(VectorError, match=r"θ₀ has no tensor 'bias' \(1 such\); it has \['weight'\]"):
            add_scaled_(module, {"weight": torch.zeros(2, 2)}, {"bias": torch.ones(2)}, 1.0)

    def test_the_weights_of_the_model_itself_are_refused_as_theta0(self):
        module = nn.Linear(2, 2)
        before = {name: value.clone() for name, value in module.state_dict().items()}
        with pytest.raises(VectorError, match="'weight' is the model's own and would change with it"):
            add_scaled_(module, module.state_dict(), {"weight": torch.ones(2, 2)}, 0.5)
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
        add_scaled_(module, before, {"weight": torch.ones(2, 2)}, 0.5)
        assert torch.equal(module.weight, before["weight"] + 0.5)

    def test_alpha_zero_is_theta0_exactly(self, make_checkpoints):
        base, paths, _ = make_checkpoints(shapes={"weight": (4, 3), "bias": (4,)})
        theta0 = {k: v for k, v in load_file(base).items() if k != "steps"}
        module = nn.Linear(3, 4)
        VectorSet.task_vectors(base, paths).combine(torch.ones(5)).apply_(module, theta0, 0.0)
        assert all(torch.equal(p, theta0[n]) for n, p in module.named_parameters())

    def test_several_vectors_at_once_are_refused(self, make_checkpoints):
        base, paths, _ = make_checkpoints()
        with pytest.raises(VectorError, match="expected one vector, this set has 5"):
            VectorSet.task_vectors(base, paths).apply_(nn.Linear(2, 2), {}, 1.0)


class TestRefusals:
    def test_other_shape(self, make_checkpoints):
        base, paths, _ = make_checkpoints()
        save_file(load_file(paths["task1"]) | {"visual.b": torch.zeros(14)}, paths["task1"])
        with pytest.raises(VectorError, match=r"task1.*'visual\.b' has shape \(14,\).*\(13,\)"):
            VectorSet.task_vectors(base, paths)

    def test_missing_tensor(self, make_checkpoints):
        base, paths, _ = make_checkpoints()
        tensors = load_file(paths["task1"])
        del tensors["visual.b"]
        save_file(tensors, paths["task1"])
        with pytest.raises(VectorError, match=r"task1\.safetensors.*lacks the tensor 'visual\.b'"):
            VectorSet.task_vectors(base, paths)

    def test_nothing_selected(self, make_checkpoints):
        base, paths, _ = make_checkpoints()
        with pytest.raises(VectorError, match="no floating-point tensor whose name begins with 'text'"):
            VectorSet.task_vectors(base, paths, select="text")

    def test_coefficients_of_another_length(self, make_checkpoints):
        base, paths, _ = make_checkpoints()
        with pytest.raises(VectorError, match=r"shape \(4,\) do not fit 5 columns"):
            VectorSet.task_vectors(base, paths).combine(torch.ones(4))

    def test_coefficients_that_are_not_finite(self, make_checkpoints):
        base, paths, _ = make_checkpoints()
        with pytest.raises(VectorError, match="coefficients are not finite"):
            VectorSet.task_vectors(base, paths).combine(torch.tensor([1.0, 2.0, 3.0, 4.0, torch.nan]))

    @pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
    def test_more_or_fewer_names_than_combinations(self, make_checkpoints, names):
        base, paths, _ = make_checkpoints()
        with pytest.raises(VectorError, match=f"{len(names)} names .* do not fit 2 combinations"):
            VectorSet.task_vectors(base, paths).combine(torch.ones(5, 2), names)

    def test_no_checkpoints(self, make_checkpoints):
        base, _, _ = make_checkpoints()
        with pytest.raises(VectorError, match="at least one"):
            VectorSet.task_vectors(base, {})

    def test_a_value_that_is_not_finite_is_found_while_saving_and_leaves_no_file(
        self, make_checkpoints, tmp_path
    ):
        base, paths, _ = make_checkpoints()
        tensors = load_file(paths["task3"])
        tensors["visual.b"][2] = torch.nan
        save_file(tensors, paths["task3"])
        with pytest.raises(VectorError, match=r"task3\.safetensors: the tensor 'visual\.b'"):
            VectorSet.task_vectors(base, paths).combine(torch.ones(5)).save(tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_merged_model_that_is_not_finite_is_found_whoever_is_at_fault(self, make_checkpoints, tmp_path):
        base, paths, _ = make_checkpoints()
        vector = VectorSet.task_vectors(base, paths).combine(torch.ones(5), ["sum"])
        out = {"sum": tmp_path / "out" / "m.safetensors"}
        with pytest.raises(VectorError, match="of the merged model overflowed; choose a smaller alpha"):
            vector.save_models(out, base, 1e39)
        tensors = load_file(base)
        tensors["visual.b"][2] = torch.nan
        save_file(tensors, tmp_path / "broken.safetensors")
        with pytest.raises(VectorError, match=r"broken\.safetensors: the tensor 'visual\.b' has a value"):
            vector.save_models(out, tmp_path / "broken.safetensors", 1.0)
        assert list((tmp_path / "out").iterdir()) == []

    @pytest.mark.parametrize("name", ["../up", "a/b", ""])
    def test_a_name_that_is_no_file_name(self, make_checkpoints, tmp_path, name):
        base, paths, _ = make_checkpoints()
        with pytest.raises(VectorError, match="cannot be a file name"):
            VectorSet.task_vectors(base, {name: paths["task0"]}).save(tmp_path / "out")


def test_an_interrupted_save_leaves_no_file(make_checkpoints, tmp_path, monkeypatch):
    base, paths, _ = make_checkpoints()
    vectors = VectorSet.task_vectors(base, paths)
    monkeypatch.setattr(layout, "CHUNK", 10)
    calls = []

    def broken(entry):
        calls.append(entry)
        if len(calls) > 3:
            raise OSError("interrupted")
        return 1.0

    monkeypatch.setattr(saving.math, "isfinite", broken)
    with pytest.raises(OSError, match="interrupted"):
        vectors.save(tmp_path / "out")
    assert list(Path(tmp_path / "out").iterdir()) == []
