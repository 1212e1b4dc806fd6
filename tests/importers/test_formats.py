"""Files as the lineage writes them, read without the packages that wrote them."""

import json
from collections import OrderedDict

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from taskbasis.errors import ImporterError
from taskbasis.importers import Checkpoint, filled, import_checkpoint, selected, to_hf
from taskbasis.importers.hf_clip import from_hf
from taskbasis.importers.unpickler import load
from taskbasis.vectors.files import TensorFile
from taskbasis.vectors.layout import Selection

TINY = {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
TEXT = {"context_length": 8, "vocab_size": 16, "width": 8, "heads": 2, "layers": 1}


def tiny_clip(quick_gelu=False):
    torch.manual_seed(0)
    return open_clip.CLIP(
        8, open_clip.CLIPVisionCfg(**TINY), open_clip.CLIPTextCfg(**TEXT), quick_gelu=quick_gelu
    )


@pytest.mark.parametrize("quick", [False, True])
def test_a_pickled_encoder_gives_its_state_dict_and_activation(lineage, quick):
    model = tiny_clip(quick)
    del model.transformer
    path = lineage(lambda src: src.ImageEncoder(model), "finetuned.pt")
    found = import_checkpoint(path)
    expected = model.state_dict()
    assert found.kind == "encoder"
    assert found.facts == {"class": "src.modeling.ImageEncoder", "quick_gelu": str(quick).lower()}
    assert found.tensors.keys() == expected.keys()
    assert all(torch.equal(found.tensors[name], expected[name]) for name in expected)


def test_the_activation_is_that_of_the_visual_tower(lineage):
    model = tiny_clip(quick_gelu=True)
    model.text = nn.Sequential(nn.Linear(2, 2), nn.GELU())
    found = import_checkpoint(lineage(lambda src: src.ImageEncoder(model), "finetuned.pt"))
    assert found.facts["quick_gelu"] == "true"


def test_an_encoder_of_unknown_activation_is_refused(lineage):
    path = lineage(lambda src: src.ImageEncoder(nn.Sequential(nn.Linear(2, 2), nn.ReLU())), "e.pt")
    with pytest.raises(ImporterError, match="the activation is unknown; QuickGELU or GELU is needed"):
        import_checkpoint(path)


def test_a_pickled_head_gives_its_weights(lineage):
    weight = torch.randn(3, 8)
    found = import_checkpoint(lineage(lambda src: src.ClassificationHead(weight), "head.pt"))
    assert found.kind == "head"
    assert found.facts["normalize"] == "true"
    assert torch.equal(found.tensors["weight"], weight)


def test_buffers_are_read_unless_they_are_not_persistent(lineage):
    def make(src):
        inner = nn.Sequential(nn.BatchNorm1d(3), nn.GELU())
        inner.register_buffer("scratch", torch.ones(2), persistent=False)
        return src.ImageEncoder(inner)

    found = import_checkpoint(lineage(make, "e.pt"))
    assert found.tensors.keys() == nn.Sequential(nn.BatchNorm1d(3)).state_dict().keys()
    assert found.tensors["0.num_batches_tracked"].dtype == torch.int64


class TestStateDicts:
    @pytest.mark.parametrize("prefix", ["model.", "module.", "module.model.", ""])
    @pytest.mark.parametrize("nested", [False, True])
    def test_prefixes_are_taken_off(self, tmp_path, prefix, nested):
        state = OrderedDict((f"{prefix}visual.{n}", torch.randn(2)) for n in "ab")
        torch.save({"state_dict": state, "epoch": 3} if nested else state, tmp_path / "m.pt")
        assert list(import_checkpoint(tmp_path / "m.pt").tensors) == ["visual.a", "visual.b"]

    def test_views_and_dtypes_are_kept(self, tmp_path):
        big = torch.arange(24.0).view(4, 6)
        state = {
            "row": big[1], "column": big[:, 2], "turned": big.T, "scalar": torch.tensor(2.5),
            "none": torch.empty(0, 3), "half": torch.ones(3).half(), "brain": torch.ones(3).bfloat16(),
            "double": torch.ones(3).double(), "count": torch.tensor(7), "mask": torch.tensor([True, False]),
        }  # fmt: skip
        torch.save(state, tmp_path / "m.pt")
        found = import_checkpoint(tmp_path / "m.pt").tensors
        for name, tensor in state.items():
            assert found[name].dtype == tensor.dtype
            assert torch.equal(found[name], tensor)

    def test_saving_gives_ordinary_safetensors(self, tmp_path):
        big = torch.arange(24.0).view(4, 6)
        torch.save({"a": big.T, "b": big[1]}, tmp_path / "m.pt")
        import_checkpoint(tmp_path / "m.pt").save(tmp_path / "m.safetensors")
        again = load_file(tmp_path / "m.safetensors")
        assert torch.equal(again["a"], big.T)
        assert torch.equal(again["b"], big[1])
        assert TensorFile(tmp_path / "m.safetensors").metadata["kind"] == "state dict"

    def test_an_entry_that_is_no_tensor_is_named(self, tmp_path):
        torch.save({"a": torch.ones(2), "config": "text"}, tmp_path / "m.pt")
        with pytest.raises(ImporterError, match=r"the entry 'config' of the state dict is str"):
            import_checkpoint(tmp_path / "m.pt")

    def test_a_file_of_something_else_is_refused(self, tmp_path):
        torch.save([1, 2], tmp_path / "m.pt")
        with pytest.raises(ImporterError, match="holds a list, neither a module nor a state dict"):
            import_checkpoint(tmp_path / "m.pt")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_value_that_is_not_finite_is_named_and_leaves_no_file(self, tmp_path, value):
        torch.save({"fine": torch.ones(2), "broken": torch.tensor([value])}, tmp_path / "m.pt")
        with pytest.raises(ImporterError, match="'broken' has a value that is not finite"):
            import_checkpoint(tmp_path / "m.pt").save(tmp_path / "m.safetensors")
        assert not (tmp_path / "m.safetensors").exists()

    def test_tensors_are_mapped_not_copied(self, tmp_path):
        torch.save({"a": torch.ones(1000)}, tmp_path / "m.pt")
        found = load(tmp_path / "m.pt").value["a"]
        assert found.untyped_storage().nbytes() == (tmp_path / "m.pt").stat().st_size


class TestHuggingFace:
    def visual(self):
        return {f"visual.{k}": v for k, v in tiny_clip(quick_gelu=True).visual.state_dict().items()}

    def test_there_and_back_is_the_identity(self):
        ours = self.visual()
        theirs = to_hf(ours).tensors
        again = from_hf(theirs).tensors
        assert again.keys() == ours.keys()
        assert all(torch.equal(again[name], ours[name]) for name in ours)

    def test_a_tower_of_transformers_computes_the_same_features(self, tmp_path):
        transformers = pytest.importorskip("transformers")
        config = transformers.CLIPVisionConfig(
            hidden_size=16, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            image_size=16, patch_size=8, projection_dim=8,
        )  # fmt: skip
        torch.manual_seed(1)
        theirs = transformers.CLIPVisionModelWithProjection(config).eval()
        theirs.save_pretrained(tmp_path / "hf")
        found = import_checkpoint(tmp_path / "hf")
        assert found.facts["quick_gelu"] == "true"
        ours = tiny_clip(quick_gelu=True).eval()
        ours.visual.load_state_dict({k.removeprefix("visual."): v for k, v in found.tensors.items()})
        pixels = torch.randn(3, 3, 16, 16)
        with torch.no_grad():
            torch.testing.assert_close(ours.visual(pixels), theirs(pixels).image_embeds, rtol=1e-4, atol=1e-5)

    def test_our_tower_loads_in_transformers_without_missing_tensors(self, tmp_path):
        transformers = pytest.importorskip("transformers")
        to_hf(self.visual()).save(tmp_path / "model.safetensors")
        config = {
            "hidden_size": 16,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        }
        config |= {"image_size": 16, "patch_size": 8, "projection_dim": 8, "model_type": "clip_vision_model"}
        (tmp_path / "config.json").write_text(json.dumps(config))
        model, report = transformers.CLIPVisionModelWithProjection.from_pretrained(
            tmp_path, output_loading_info=True
        )
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        assert torch.equal(model.visual_projection.weight, self.visual()["visual.proj"].T)

    def test_the_projection_can_come_from_the_pretrained_model(self, tmp_path):
        theirs = dict(to_hf(self.visual()).tensors)
        projection = theirs.pop("visual_projection.weight")
        save_file({k: v.contiguous() for k, v in theirs.items()}, tmp_path / "tuned.safetensors")
        tuned = import_checkpoint(tmp_path / "tuned.safetensors")
        assert "visual.proj" not in tuned.tensors
        whole = filled(tuned, self.visual())
        assert torch.equal(whole.tensors["visual.proj"], projection.T)

    def test_a_tower_that_lacks_a_tensor_is_refused(self):
        theirs = dict(to_hf(self.visual()).tensors)
        del theirs["vision_model.encoder.layers.1.mlp.fc1.bias"]
        with pytest.raises(ImporterError, match=r"lack 'vision_model\.encoder\.layers\.1\.mlp\.fc1\.bias'"):
            from_hf(theirs)


def test_a_selection_that_chooses_nothing_is_refused():
    checkpoint = Checkpoint("state dict", {"visual.a": torch.ones(1), "text.b": torch.ones(1)})
    assert list(selected(checkpoint, Selection.parse("/^vis/")).tensors) == ["visual.a"]
    with pytest.raises(ImporterError, match="no tensor whose name begins with 'audio'"):
        selected(checkpoint, Selection.parse("audio"))
