import json
import os

import pytest
import torch
from safetensors.torch import save_file

from taskbasis.errors import VectorError
from taskbasis.vectors import VectorSet
from taskbasis.vectors.files import TensorFile


@pytest.fixture
def sharded(tmp_path):
    """A checkpoint in two shards with an index, as Hugging Face writes them."""
    folder = tmp_path / "sharded"
    folder.mkdir()
    a, b = {"x": torch.arange(6.0).view(2, 3)}, {"y": torch.ones(4), "n": torch.tensor([7])}
    save_file(a, folder / "model-00001-of-00002.safetensors")
    save_file(b, folder / "model-00002-of-00002.safetensors")
    weight_map = dict.fromkeys(a, "model-00001-of-00002.safetensors")
    weight_map |= dict.fromkeys(b, "model-00002-of-00002.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def test_shards_read_like_one_file_by_index_or_folder(sharded):
    for path in (sharded, sharded.parent):
        file = TensorFile(path)
        assert dict(file.layout) == {"x": torch.Size([2, 3]), "y": torch.Size([4])}
        assert file.dtypes["n"] == torch.int64
        assert torch.equal(file.read("x"), torch.arange(6.0).view(2, 3))
        assert torch.equal(file.elements("y", 1, 3), torch.ones(2))
        assert len(file.files) == 2


def test_a_folder_with_one_checkpoint_stands_for_it(tmp_path):
    save_file({"x": torch.ones(2)}, tmp_path / "anything.safetensors")
    assert list(TensorFile(tmp_path).layout) == ["x"]


def test_a_checkpoint_without_tensors_still_has_metadata(tmp_path):
    save_file({}, tmp_path / "none.safetensors", {"kind": "nothing"})
    assert TensorFile(tmp_path / "none.safetensors").metadata == {"kind": "nothing"}
    (tmp_path / "none.safetensors.index.json").write_text('{"weight_map": {}}')
    assert TensorFile(tmp_path / "none.safetensors.index.json").metadata == {}


def test_task_vectors_without_tensors_are_refused(tmp_path):
    save_file({}, tmp_path / "none.safetensors")
    with pytest.raises(VectorError, match="no floating-point tensor"):
        VectorSet.task_vectors(tmp_path / "none.safetensors", {"a": tmp_path / "none.safetensors"})


def rewrite(index, change):
    stored = json.loads(index.read_text())
    change(stored["weight_map"])
    index.write_text(json.dumps(stored))


class TestRefusals:
    def test_a_shard_that_is_absent(self, sharded):
        (sharded.parent / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(VectorError, match=r"no such file: .*00002-of-00002"):
            TensorFile(sharded)

    def test_a_tensor_that_its_shard_lacks(self, sharded):
        rewrite(sharded, lambda m: m.update(z=m["x"]))
        with pytest.raises(VectorError, match=r"says that model-00001-of-00002.safetensors holds 'z'"):
            TensorFile(sharded)

    @pytest.mark.parametrize("place", ["../outside.safetensors", "/etc/passwd", "sub/model.safetensors"])
    def test_a_shard_elsewhere(self, sharded, place):
        rewrite(sharded, lambda m: m.update(x=place))
        with pytest.raises(VectorError, match="not a file beside it"):
            TensorFile(sharded)

    @pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 3}', "{}"])
    def test_an_index_that_is_none(self, sharded, text):
        sharded.write_text(text)
        with pytest.raises(VectorError, match="not a safetensors index"):
            TensorFile(sharded)

    def test_a_folder_with_several_checkpoints(self, tmp_path):
        for name in ("a", "b"):
            save_file({"x": torch.ones(2)}, tmp_path / f"{name}.safetensors")
        with pytest.raises(VectorError, match=r"several checkpoints: \['a.safetensors', 'b.safetensors'\]"):
            TensorFile(tmp_path)

    def test_a_folder_without_any(self, tmp_path):
        (tmp_path / "model.bin").write_bytes(b"")
        with pytest.raises(VectorError, match=r"no \.safetensors file; it holds \['model.bin'\]"):
            TensorFile(tmp_path)

    def test_a_pickle_which_is_pointed_to_the_converter(self, tmp_path):
        torch.save({"x": torch.ones(2)}, tmp_path / "model.pt")
        with pytest.raises(VectorError, match=r"python -m taskbasis\.convert"):
            TensorFile(tmp_path / "model.pt")

    def test_a_float_too_narrow_for_differences(self, tmp_path):
        save_file({"x": torch.ones(2).to(torch.float8_e4m3fn)}, tmp_path / "m.safetensors")
        with pytest.raises(VectorError, match=r"'x' has dtype F8_E4M3; accepted: F64, F32, F16, BF16"):
            TensorFile(tmp_path / "m.safetensors")

    def test_missing_file(self, make_checkpoints, tmp_path):
        base, paths, _ = make_checkpoints()
        with pytest.raises(VectorError, match=r"no such file: .*absent\.safetensors"):
            VectorSet.task_vectors(base, paths | {"x": tmp_path / "absent.safetensors"})

    def test_truncated_file(self, make_checkpoints):
        base, paths, _ = make_checkpoints()
        os.truncate(paths["task1"], 100)
        with pytest.raises(VectorError, match=r"task1\.safetensors is not a readable safetensors file"):
            VectorSet.task_vectors(base, paths)
