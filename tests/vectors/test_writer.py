import errno
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from taskbasis.errors import VectorError
from taskbasis.vectors import shard
from taskbasis.vectors.files import FLOATS, INTEGERS, TensorFile
from taskbasis.vectors.shard import Entry
from taskbasis.vectors.writer import TensorWriter

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


@pytest.mark.parametrize("most", [None, 700])
@pytest.mark.parametrize("seed", range(5))
def test_the_hash_made_while_writing_is_that_of_the_file(tmp_path, seed, most):
    shapes = {"wide": (40, 3), "none": (0, 2), "scalar": (), "long": (500,)}
    tensors = {"steps": torch.arange(9)} | {name: torch.randn(shape) for name, shape in shapes.items()}
    pieces = [(name, start) for name, t in tensors.items() for start in range(0, t.numel(), 7)]
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(seed)).tolist()
    pieces = pieces if seed == 0 else [pieces[i] for i in order]
    path = tmp_path / "m.safetensors"
    with (
        TensorWriter(path, entries_of(tensors), max_shard_bytes=most, hashed=True) as writer,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda p: writer.write(*p, tensors[p[0]].reshape(-1)[p[1] : p[1] + 7]), pieces))
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == (1 if most is None else 2)
    assert writer.sha256 == {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


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


def test_the_other_form_of_an_older_checkpoint_is_replaced_too(tmp_path):
    tensors = {"a": torch.ones(4, 4), "b": torch.ones(4, 4)}
    neighbours = {"model.json", "model-of-another.safetensors"}
    for name in neighbours:
        (tmp_path / name).write_text("")
    for most, expected in ((64, 3), (None, 1), (64, 3)):
        with TensorWriter(
            tmp_path / "model.safetensors", entries_of(tensors), max_shard_bytes=most
        ) as writer:
            for name, tensor in tensors.items():
                writer.write(name, 0, tensor)
        assert len({path.name for path in tmp_path.iterdir()} - neighbours) == expected
        assert neighbours < {path.name for path in tmp_path.iterdir()}


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


def test_a_full_disk_is_found_before_anything_is_computed(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    writer = TensorWriter(tmp_path / "m.safetensors", {"a": Entry(torch.float32, torch.Size([1]))})
    with pytest.raises(VectorError, match=r"cannot write .*m\.safetensors: No space left"), writer:
        pytest.fail("the block was entered")
    assert list(tmp_path.iterdir()) == []


def test_file_systems_that_cannot_reserve_space_are_written_all_the_same(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    result = write_in_pieces(tmp_path / "m.safetensors", {"a": torch.arange(5.0)}, 2)
    assert torch.equal(load_file(result)["a"], torch.arange(5.0))


def test_every_byte_was_flushed_when_a_file_takes_its_name(tmp_path, monkeypatch):
    events = []
    pwrite, fsync, rename = os.pwrite, os.fsync, os.replace

    def note(kind, call):
        def noted(first, *rest):
            done = call(first, *rest)
            events.append((kind, first))
            return done

        return noted

    monkeypatch.setattr(shard, "FLUSH", 64)
    monkeypatch.setattr(os, "pwrite", note("write", pwrite))
    monkeypatch.setattr(os, "fsync", note("flush", fsync))
    monkeypatch.setattr(os, "replace", note("rename", rename))
    write_in_pieces(tmp_path / "m.safetensors", {"a": torch.arange(100.0)}, 9)
    (descriptor,) = {first for kind, first in events if kind == "write"}
    kinds = [kind for kind, first in events if first == descriptor or kind == "rename"]
    last_write = len(kinds) - 1 - kinds[::-1].index("write")
    assert kinds.count("flush") > 2
    assert "flush" in kinds[last_write : kinds.index("rename")]


def test_a_disk_that_fails_leaves_nothing(tmp_path, monkeypatch):
    calls = []

    def fail_once(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    # The system reports a failed flush once; later ones of the same file succeed.
    monkeypatch.setattr(shard, "FLUSH", 64)
    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(VectorError, match=r"cannot write .*m\.safetensors: Input/output error"):
        write_in_pieces(tmp_path / "m.safetensors", {"a": torch.arange(100.0)}, 9)
    assert list(tmp_path.iterdir()) == []
