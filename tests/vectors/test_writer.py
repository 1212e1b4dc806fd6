import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from taskbasis.errors import VectorError
from taskbasis.vectors.files import FLOATS, INTEGERS, TensorFile
from taskbasis.vectors.writer import Entry, TensorWriter

DTYPES = list((FLOATS | INTEGERS).values())


def entries_of(tensors):
    return {name: Entry(t.dtype, t.shape) for name, t in tensors.items()}


def write_in_pieces(path, tensors, piece, **options):
    with TensorWriter(path, entries_of(tensors), **options) as writer:
        for name in reversed(tensors):
            flat = tensors[name].reshape(-1)
            for start in reversed(range(0, len(flat), piece)):
                writer.write(name, start, flat[start : start + piece])
    return writer.result


@settings(max_examples=30, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=1, max_size=5),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=5, max_size=5),
    piece=st.integers(1, 9),
    most=st.none() | st.integers(1, 200),
)
def test_any_checkpoint_written_in_pieces_reads_back_with_the_library(
    tmp_path_factory, shapes, dtypes, piece, most
):
    tensors = {
        f"t{i}": torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)
        for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=False))
    }
    path = tmp_path_factory.mktemp("written") / "model.safetensors"
    result = write_in_pieces(path, tensors, piece, max_shard_bytes=most)
    again = TensorFile(result)
    assert again.dtypes == {name: t.dtype for name, t in tensors.items()}
    assert all(torch.equal(again.read(name), t) for name, t in tensors.items())
    if most is not None:
        sizes = [sum(t.nbytes for t in load_file(f).values()) for f in again.files]
        assert all(size <= most or len(load_file(f)) == 1 for size, f in zip(sizes, again.files, strict=True))


def test_the_bytes_are_those_of_the_library_for_one_dtype(tmp_path):
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(5)}
    save_file(tensors, tmp_path / "library.safetensors", metadata={"format": "pt"})
    write_in_pieces(tmp_path / "ours.safetensors", tensors, 7)
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "library.safetensors").read_bytes()


def test_shards_are_numbered_and_indexed_as_hugging_face_does(tmp_path):
    tensors = {name: torch.ones(10) for name in "abc"}
    result = write_in_pieces(tmp_path / "model.safetensors", tensors, 10, max_shard_bytes=80)
    assert result == tmp_path / "model.safetensors.index.json"
    index = json.loads(result.read_text())
    assert index["metadata"]["total_size"] == 120
    assert index["weight_map"] == {
        "a": "model-00001-of-00002.safetensors",
        "b": "model-00001-of-00002.safetensors",
        "c": "model-00002-of-00002.safetensors",
    }


def test_nothing_is_left_when_elements_are_missing(tmp_path):
    with (
        pytest.raises(VectorError, match="8 bytes were not written"),
        TensorWriter(tmp_path / "m.safetensors", {"a": Entry(torch.float32, torch.Size([3]))}) as writer,
    ):
        writer.write("a", 0, torch.ones(1))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_and_the_old_file_stays_when_the_source_fails(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"old": torch.ones(1)}, path)
    with (
        pytest.raises(RuntimeError, match="source"),
        TensorWriter(path, {"a": Entry(torch.float32, torch.Size([3]))}),
    ):
        raise RuntimeError("source")
    assert list(tmp_path.iterdir()) == [path]
    assert list(load_file(path)) == ["old"]


def test_values_beyond_the_range_of_half_precision_are_refused(tmp_path):
    entries = {"a": Entry(torch.float16, torch.Size([1]))}
    with (
        pytest.raises(VectorError, match=r"'a' has values beyond the range of torch\.float16"),
        TensorWriter(tmp_path / "m.safetensors", entries) as writer,
    ):
        writer.write("a", 0, torch.tensor([1e6]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("m.pt", torch.float32, "must end in .safetensors"),
        ("m.safetensors", torch.complex64, "cannot store 'a'"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, dtype, message):
    with pytest.raises(VectorError, match=message):
        TensorWriter(tmp_path / name, {"a": Entry(dtype, torch.Size([1]))})


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    writer = TensorWriter(tmp_path / "file" / "m.safetensors", {"a": Entry(torch.float32, torch.Size([1]))})
    with pytest.raises(VectorError, match=r"cannot write .*m\.safetensors"), writer:
        pass
