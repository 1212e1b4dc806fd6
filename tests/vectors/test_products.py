import os

import pytest
import torch
from lightning.fabric import Fabric
from safetensors.torch import load_file, save_file

from taskbasis.errors import VectorError
from taskbasis.vectors import VectorSet, layout, products

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def many_chunks(monkeypatch):
    """Cuts even tiny vectors into many chunks and blocks."""
    monkeypatch.setattr(layout, "CHUNK", 40)
    monkeypatch.setattr(products, "BLOCK", 24)


@pytest.mark.parametrize("chunk", [3, 64, 1 << 18])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_streamed_gram_equals_dense(make_checkpoints, monkeypatch, chunk, dtype):
    monkeypatch.setattr(layout, "CHUNK", chunk)
    base, paths, dense = make_checkpoints(dtype=dtype)
    gram = VectorSet.task_vectors(base, paths).gram()
    assert gram.names == tuple(paths)
    torch.testing.assert_close(gram.matrix, dense.T @ dense, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("T", [1, 3, 4, 9])
def test_any_number_of_columns(make_checkpoints, many_chunks, T):
    base, paths, dense = make_checkpoints(T=T)
    torch.testing.assert_close(
        VectorSet.task_vectors(base, paths).gram().matrix, dense.T @ dense, rtol=1e-5, atol=1e-7
    )


def test_float64_products_are_exact_to_float64(make_checkpoints, many_chunks):
    base, paths, dense = make_checkpoints(dtype=torch.float64)
    gram = VectorSet.task_vectors(base, paths).gram(precision="float64")
    torch.testing.assert_close(gram.matrix, dense.T @ dense, rtol=1e-13, atol=0)


def test_close_float64_checkpoints_keep_their_differences(make_checkpoints):
    base, paths, dense = make_checkpoints(dtype=torch.float64, scale=1e-9)
    gram = VectorSet.task_vectors(base, paths).gram()
    torch.testing.assert_close(gram.matrix, dense.T @ dense, rtol=1e-5, atol=0)


def test_the_result_has_the_same_bits_for_any_number_of_threads(make_checkpoints, many_chunks):
    base, paths, _ = make_checkpoints()
    vectors = VectorSet.task_vectors(base, paths)
    one = vectors.gram(threads=1).matrix
    assert all(torch.equal(vectors.gram(threads=n).matrix, one) for n in (2, 3, 8))


def test_threads_of_torch_are_left_as_they_were(make_checkpoints):
    base, paths, _ = make_checkpoints()
    torch.set_num_threads(2)
    VectorSet.task_vectors(base, paths).gram(threads=2)
    assert torch.get_num_threads() == 2


def _gram_of_rank(fabric, base, paths, folder):
    layout.CHUNK, products.BLOCK = 40, 24
    gram = VectorSet.task_vectors(base, paths).gram(fabric=fabric, threads=1)
    gram.save(folder / f"rank{fabric.global_rank}.safetensors")


def test_two_processes_share_the_work_and_agree_to_the_bit(make_checkpoints, many_chunks, tmp_path):
    base, paths, _ = make_checkpoints()
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    fabric.launch(_gram_of_rank, base, paths, tmp_path)
    alone = VectorSet.task_vectors(base, paths).gram()
    for rank in range(2):
        assert torch.equal(load_file(tmp_path / f"rank{rank}.safetensors")["gram"], alone.matrix)


@pytest.mark.parametrize("known", [["task0"], ["task3", "task1"], [f"task{i}" for i in range(5)]])
def test_only_the_rows_of_new_columns_are_computed(make_checkpoints, many_chunks, monkeypatch, known):
    base, paths, dense = make_checkpoints()
    vectors = VectorSet.task_vectors(base, paths)
    old = VectorSet.task_vectors(base, {name: paths[name] for name in known}).gram()
    heights = []
    multiply = products.OnHost.__call__

    def watched(self, block):
        result = multiply(self, block)
        heights.append(len(result))
        return result

    monkeypatch.setattr(products.OnHost, "__call__", watched)
    extended = vectors.gram(known=old, threads=1)
    torch.testing.assert_close(extended.matrix, dense.T @ dense, rtol=1e-5, atol=1e-7)
    assert extended.names == vectors.names
    assert set(heights) == {5 - len(known)} if len(known) < 5 else not heights
    i, j = (extended.names.index(name) for name in (known[0], known[-1]))
    assert extended.matrix[i, j] == old.matrix[0, -1]


def test_a_known_gram_of_other_columns_is_refused(make_checkpoints):
    base, paths, _ = make_checkpoints()
    old = VectorSet.task_vectors(base, {"stranger": paths["task0"]}).gram()
    with pytest.raises(VectorError, match=r"has \['stranger'\], which are not among"):
        VectorSet.task_vectors(base, paths).gram(known=old)


def test_progress_counts_every_element_once(make_checkpoints, many_chunks):
    base, paths, dense = make_checkpoints()
    seen = []
    VectorSet.task_vectors(base, paths).gram(progress=lambda done, total: seen.append((done, total)))
    assert [d for d, _ in seen] == sorted({d for d, _ in seen})
    assert seen[-1] == (len(dense), len(dense))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_file_and_tensor_of_a_value_that_is_not_finite_are_named(make_checkpoints, value):
    base, paths, _ = make_checkpoints()
    tensors = load_file(paths["task3"])
    tensors["visual.b"][2] = value
    save_file(tensors, paths["task3"])
    with pytest.raises(
        VectorError, match=r"task3\.safetensors: .*'visual\.b' has a value that is not finite"
    ):
        VectorSet.task_vectors(base, paths).gram()


def test_a_device_that_is_not_here_is_refused(make_checkpoints):
    base, paths, _ = make_checkpoints()
    with pytest.raises(VectorError, match=r"device='meta': accepted are cpu and"):
        VectorSet.task_vectors(base, paths).gram(device="meta")


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("threads", [1, 4])
def test_gram_on_a_gpu_equals_the_one_on_the_cpu(make_checkpoints, many_chunks, threads):
    base, paths, _ = make_checkpoints(T=6)
    vectors = VectorSet.task_vectors(base, paths)
    old = VectorSet.task_vectors(base, {"task0": paths["task0"]}).gram()
    exact = vectors.gram(precision="float64").matrix
    for known in (None, old):
        found = vectors.gram(device="cuda", threads=threads, known=known).matrix
        torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-7)


def test_an_error_in_one_thread_ends_the_pass_at_once(make_checkpoints, many_chunks, monkeypatch):
    base, paths, _ = make_checkpoints()
    calls = []

    def broken(self, block):
        calls.append(os.getpid())
        raise VectorError("unreadable")

    monkeypatch.setattr(products.OnHost, "__call__", broken)
    with pytest.raises(VectorError, match="unreadable"):
        VectorSet.task_vectors(base, paths).gram(threads=2)
    assert len(calls) <= 3
