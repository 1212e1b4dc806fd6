"""Merged image encoders as models of others: the same embeddings there and here."""

import json

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from taskbasis.errors import ConfigError, ImporterError
from taskbasis.export import export, main
from taskbasis.importers import import_checkpoint
from taskbasis.models.clip import image_encoder
from taskbasis.models.open_clip_model import OpenClipModel


@pytest.fixture(params=[True, False], ids=["QuickGELU", "GELU"])
def merged(request, small_clip, tmp_path):
    """A small model whose image encoder was moved, with the file of its weights."""
    clip = OpenClipModel(f"local-dir:{small_clip}", pretrained=None, quick_gelu=request.param)
    state = {f"visual.{k}": v for k, v in clip.load().model.visual.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    moved = {k: v + 0.02 * torch.randn(v.shape, generator=generator) for k, v in state.items()}
    save_file(moved, tmp_path / "merged.safetensors")
    encoder = image_encoder(clip).eval()
    encoder.load_state_dict(moved)
    inputs = torch.randn(3, 3, 64, 64, generator=generator)
    with torch.no_grad():
        return clip, tmp_path / "merged.safetensors", inputs, encoder(inputs)


def test_open_clip_loads_it(merged, tmp_path):
    clip, weights, inputs, expected = merged
    export(weights, tmp_path / "out", clip, "open_clip")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'out'}")
    with torch.no_grad():
        torch.testing.assert_close(
            model.eval().encode_image(inputs, normalize=True), expected, rtol=0, atol=1e-5
        )
    assert preprocess.transforms[0].size == 64
    theirs, ours = model.state_dict(), clip.load().model.state_dict()
    assert torch.equal(theirs["token_embedding.weight"], ours["token_embedding.weight"])


def test_transformers_loads_it_and_we_read_it_back(merged, tmp_path):
    transformers = pytest.importorskip("transformers")
    clip, weights, inputs, expected = merged
    export(weights, tmp_path / "out", clip, "hf")
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        found = torch.nn.functional.normalize(model(inputs).image_embeds, dim=-1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    model.save_pretrained(tmp_path / "again")
    back = import_checkpoint(tmp_path / "again")
    assert back.facts["quick_gelu"] == str(clip.quick_gelu).lower()
    for name, tensor in load_file(weights).items():
        assert torch.equal(back.tensors[name], tensor), name
    assert json.loads((tmp_path / "out/preprocessor_config.json").read_text())["crop_size"]["height"] == 64


def test_the_card_says_what_matters(merged, tmp_path):
    clip, weights, *_ = merged
    export(weights, tmp_path / "out", clip, "hf")
    card = (tmp_path / "out/README.md").read_text()
    assert f"activation | {'QuickGELU' if clip.quick_gelu else 'GELU'}:" in card
    assert "merged.safetensors, sha256 " in card
    assert str(tmp_path) not in card


def test_what_is_refused(small_clip, tmp_path, capsys):
    clip = OpenClipModel(f"local-dir:{small_clip}", pretrained=None)
    tensors = {f"visual.{k}": v for k, v in clip.load().model.visual.state_dict().items()}
    save_file(tensors, tmp_path / "gelu.safetensors", metadata={"quick_gelu": "false"})
    with pytest.raises(ImporterError, match="was trained with"):
        export(tmp_path / "gelu.safetensors", tmp_path / "out", clip, "hf")
    save_file({"visual.proj": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(ImporterError, match=r"other.safetensors is of another architecture than the model"):
        export(tmp_path / "other.safetensors", tmp_path / "out", clip, "hf")
    assert not (tmp_path / "out").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match="exists; choose another folder"):
        export(tmp_path / "gelu.safetensors", tmp_path / "there", clip, "hf")


def test_the_command(small_clip, tmp_path, capsys):
    clip = OpenClipModel(f"local-dir:{small_clip}", pretrained=None)
    tensors = {f"visual.{k}": v for k, v in clip.load().model.visual.state_dict().items()}
    save_file(tensors, tmp_path / "m.safetensors")
    settings = [f"model.name=local-dir:{small_clip}", "model.pretrained=null", "model.quick_gelu=true"]
    out = str(tmp_path / "out")
    assert main([str(tmp_path / "m.safetensors"), out, "--model", "open_clip", "--to", "hf", *settings]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
