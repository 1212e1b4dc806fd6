import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from taskbasis.errors import VectorError
from taskbasis.vectors import VectorSet, vectorset
from taskbasis.vectors.vectorset import add_scaled_


def flat(tensors):
    return torch.cat([tensors[k].double().reshape(-1) for k in sorted(tensors)])


@pytest.mark.parametrize("chunk", [3, 64, 1 << 18])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_streamed_gram_equals_dense(make_checkpoints, monkeypatch, chunk, dtype):
    monkeypatch.setattr(vectorset, "CHUNK", chunk)
    base, paths, dense = make_checkpoints(dtype=dtype)
    gram = VectorSet.task_vectors(base, paths).gram()
    assert gram.names == tuple(paths)
    assert gram.matrix.dtype == torch.float64
    torch.testing.assert_close(gram.matrix, dense.T @ dense, rtol=1e-5, atol=1e-7)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(T=st.integers(1, 6), K=st.integers(1, 4), seed=st.integers(0, 99))
def test_combination_equals_dense(make_checkpoints, tmp_path, T, K, seed):
    base, paths, dense = make_checkpoints(T=T, seed=seed)
    C = torch.randn(T, K, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    combined = VectorSet.task_vectors(base, paths).combine(C)
    for k, path in enumerate(combined.save(tmp_path / "out").values()):
        torch.testing.assert_close(flat(load_file(path)), dense @ C[:, k], rtol=1e-5, atol=1e-6)


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


def test_saved_files_are_ordinary_safetensors_of_the_asked_dtype(make_checkpoints, tmp_path):
    base, paths, dense = make_checkpoints()
    saved = VectorSet.task_vectors(base, paths).save(tmp_path / "half", dtype=torch.bfloat16)
    tensors = load_file(saved["task2"])
    assert {t.dtype for t in tensors.values()} == {torch.bfloat16}
    assert tensors["visual.w"].shape == (7, 11)
    torch.testing.assert_close(flat(tensors), dense[:, 2], rtol=1e-2, atol=1e-6)


def test_integer_tensors_are_left_out_and_a_prefix_selects(make_checkpoints):
    base, paths, _ = make_checkpoints()
    assert list(VectorSet.task_vectors(base, paths).layout) == ["visual.b", "visual.deep.k", "visual.w"]
    assert list(VectorSet.task_vectors(base, paths, select="visual.d").layout) == ["visual.deep.k"]
    with pytest.raises(VectorError, match="no floating-point tensor whose name begins with 'text'"):
        VectorSet.task_vectors(base, paths, select="text")


def test_merged_weights_are_computed_from_theta0_whatever_came_before(make_checkpoints):
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


def test_a_vector_for_another_model_is_refused():
    with pytest.raises(VectorError, match=r"no tensor 'other'"):
        add_scaled_(nn.Linear(2, 2), {}, {"other": torch.zeros(1)}, 1.0)


def test_alpha_zero_is_theta0_exactly(make_checkpoints):
    base, paths, _ = make_checkpoints(shapes={"weight": (4, 3), "bias": (4,)})
    theta0 = {k: v for k, v in load_file(base).items() if k != "steps"}
    module = nn.Linear(3, 4)
    VectorSet.task_vectors(base, paths).combine(torch.ones(5)).apply_(module, theta0, 0.0)
    assert all(torch.equal(p, theta0[n]) for n, p in module.named_parameters())


class TestRefusals:
    def test_missing_file(self, make_checkpoints, tmp_path):
        base, paths, _ = make_checkpoints()
        with pytest.raises(VectorError, match=r"no such file: .*absent\.safetensors"):
            VectorSet.task_vectors(base, paths | {"x": tmp_path / "absent.safetensors"})

    def test_truncated_file(self, make_checkpoints):
        base, paths, _ = make_checkpoints()
        os.truncate(paths["task1"], 100)
        with pytest.raises(VectorError, match=r"task1\.safetensors is not a readable safetensors file"):
            VectorSet.task_vectors(base, paths)

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

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_value_that_is_not_finite(self, make_checkpoints, value):
        base, paths, _ = make_checkpoints()
        tensors = load_file(paths["task3"])
        tensors["visual.b"][2] = value
        save_file(tensors, paths["task3"])
        with pytest.raises(VectorError, match=r"'task3' has a value that is not finite .*'visual\.b'"):
            VectorSet.task_vectors(base, paths).gram()

    def test_coefficients_of_another_length(self, make_checkpoints):
        base, paths, _ = make_checkpoints()
        with pytest.raises(VectorError, match=r"shape \(4,\) do not fit 5 columns"):
            VectorSet.task_vectors(base, paths).combine(torch.ones(4))

    def test_no_checkpoints(self, make_checkpoints):
        base, _, _ = make_checkpoints()
        with pytest.raises(VectorError, match="at least one"):
            VectorSet.task_vectors(base, {})


def test_an_interrupted_save_leaves_no_file(make_checkpoints, tmp_path, monkeypatch):
    base, paths, _ = make_checkpoints()
    vectors = VectorSet.task_vectors(base, paths)
    monkeypatch.setattr(vectorset, "CHUNK", 10)
    chunks = iter(vectors.chunks())

    def broken(self):
        yield next(chunks)
        raise OSError("disk full")

    monkeypatch.setattr(VectorSet, "chunks", broken)
    with pytest.raises(OSError, match="disk full"):
        vectors.save(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
