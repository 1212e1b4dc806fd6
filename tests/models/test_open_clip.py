"""Models of open_clip with random weights: activation, files, preprocessing, heads; no network."""

import json
import shutil

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from taskbasis.data.suite import TaskSpec
from taskbasis.errors import ModelError
from taskbasis.models.clip import image_encoder
from taskbasis.models.heads import zero_shot_head
from taskbasis.models.open_clip_model import OpenClipModel
from taskbasis.models.stages import ENCODER, pretrained_and_heads
from taskbasis.store import Store

SPEC = TaskSpec("pets", ("cat", "dog"), ("a photo of a {}.", "a bad photo of a {}."))


def model(small_clip, **options):
    return OpenClipModel(f"local-dir:{small_clip}", pretrained=None, **options)


def test_the_papers_models_look_as_their_weights_were_trained():
    for name, size in (("ViT-B-32", 224), ("ViT-B-16", 224), ("ViT-L-14", 224)):
        clip = OpenClipModel(name)
        preprocess = clip.preprocess()
        assert (preprocess.image_size, preprocess.mean) == (size, open_clip.OPENAI_DATASET_MEAN)
        assert (preprocess.interpolation, preprocess.resize_mode) == ("bicubic", "shortest")


@pytest.mark.parametrize(
    ("quick", "wanted", "other"), [(True, "QuickGELU", "GELU"), (False, "GELU", "QuickGELU")]
)
def test_every_activation_is_the_one_asked_for(small_clip, quick, wanted, other):
    loaded = model(small_clip, quick_gelu=quick).load()
    kinds = [type(m).__name__ for m in loaded.model.modules()]
    assert kinds.count(wanted) == 4  # two blocks of images, two of text
    assert other not in kinds


def test_published_weights_with_the_other_activation_are_refused():
    with pytest.raises(
        ModelError, match=r"weights 'openai'.* were trained with QuickGELU; set model.quick_gelu=True"
    ):
        OpenClipModel("ViT-B-32", quick_gelu=False)
    with pytest.raises(ModelError, match="were trained with GELU"):
        OpenClipModel("ViT-B-32", pretrained="laion2b_s34b_b79k", quick_gelu=True)


def test_a_file_that_says_its_activation_is_believed(small_clip, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(load_file(small_clip / "open_clip_model.safetensors"), path, metadata={"quick_gelu": "true"})
    with pytest.raises(ModelError, match=r"trained with QuickGELU; set model.quick_gelu=True"):
        OpenClipModel("ViT-B-32", weights=str(path), quick_gelu=False)


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_weights_from_a_local_file(kind, tmp_path, random_vit_b_32):
    path = tmp_path / f"weights.{kind}"
    state = random_vit_b_32
    if kind == "pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    clip = OpenClipModel("ViT-B-32", weights=str(path))
    loaded = clip.load().model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    assert clip.identity()["weights"] != "openai"


def test_a_model_folder_is_known_by_its_files_and_not_by_its_place(small_clip, tmp_path):
    first, second = (shutil.copytree(small_clip, tmp_path / name) for name in ("first", "second"))
    assert model(first).identity() == model(second).identity()
    before, store = model(first).identity(), Store(tmp_path / "store")
    pretrained_and_heads(store, model(first), [SPEC])
    weights = load_file(first / "open_clip_model.safetensors")
    save_file({name: 2 * tensor for name, tensor in weights.items()}, first / "open_clip_model.safetensors")
    assert model(first).identity() != before
    theta0, heads = pretrained_and_heads(store, model(first), [SPEC])
    assert not theta0.reused
    assert not heads["pets"].reused


def test_weights_of_another_architecture_are_refused(tmp_path, small_clip):
    with pytest.raises(ModelError, match="cannot load ViT-B-32 with"):
        OpenClipModel("ViT-B-32", weights=str(small_clip / "open_clip_model.safetensors")).load()


def test_without_a_connection_the_message_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelError, match=r"cannot load ViT-B-32 with weights 'openai'.*model.weights=<file>.*HF_HOME"
    ):
        OpenClipModel("ViT-B-32").load()


def test_unknown_names_and_tags_are_refused():
    with pytest.raises(ModelError, match="has the tags openai"):
        OpenClipModel("ViT-B-32", pretrained="opneai")
    with pytest.raises(ModelError, match=r"cannot make the model 'ViT-Z-1'"):
        OpenClipModel("ViT-Z-1").preprocess()
    with pytest.raises(ModelError, match="both null"):
        OpenClipModel("ViT-B-32", pretrained=None).load()


def test_the_image_encoder_on_pixels_is_open_clips_on_its_own_inputs(small_clip):
    """Equality with open_clip's own preprocessing, also where a picture is resized and converted."""
    from taskbasis.data.vision.transforms import evaluation_pixels

    clip = model(small_clip)
    loaded = clip.load().model
    encoder = image_encoder(clip).eval()
    encoder.load_state_dict({f"visual.{k}": v for k, v in loaded.visual.state_dict().items()})
    whole = open_clip.image_transform(
        64, is_train=False, mean=clip.preprocess().mean, std=clip.preprocess().std
    )
    generator = torch.Generator().manual_seed(0)
    for mode, size in (("RGB", (90, 130, 3)), ("L", (28, 28))):
        noise = torch.randint(256, size, generator=generator, dtype=torch.uint8)
        picture = Image.fromarray(noise.numpy(), mode)
        pixels = evaluation_pixels(clip.preprocess())(picture)
        assert pixels.dtype == torch.uint8
        inputs = (pixels.float().div(255) - encoder.mean) / encoder.std
        assert torch.equal(inputs, whole(picture))
        with torch.no_grad():
            ours, theirs = encoder(pixels[None]), loaded.encode_image(whole(picture)[None], normalize=True)
        torch.testing.assert_close(ours, theirs)


def test_heads_are_the_normalised_means_of_prompts_under_the_models_scale(small_clip):
    loaded = model(small_clip).load()
    head = zero_shot_head(loaded, SPEC)
    with torch.no_grad():
        for row, name in zip(head, SPEC.classes, strict=True):
            texts = loaded.tokenizer([template.format(name) for template in SPEC.templates])
            mean = loaded.model.encode_text(texts, normalize=True).mean(0)
            expected = torch.nn.functional.normalize(mean, dim=0) * loaded.model.logit_scale.exp()
            torch.testing.assert_close(row, expected)


def test_synonyms_are_averaged(small_clip):
    loaded = model(small_clip).load()
    cat, dog = zero_shot_head(loaded, SPEC)
    both, alone = zero_shot_head(loaded, TaskSpec("x", (("cat", "dog"), ("dog",)), SPEC.templates))
    expected = torch.nn.functional.normalize(cat + dog, dim=0) * loaded.model.logit_scale.exp()
    torch.testing.assert_close(both, expected)
    torch.testing.assert_close(alone, dog)


def test_stored_models_say_what_they_are(small_clip, tmp_path):
    theta0, heads = pretrained_and_heads(Store(tmp_path), model(small_clip), [SPEC])
    assert theta0.meta["quick_gelu"] is True
    assert theta0.meta["preprocess"]["image_size"] == 64
    assert all(name.startswith("visual.") for name in load_file(theta0.file(ENCODER)))
    assert heads["pets"].meta == {}


def test_loading_leaves_the_global_generator_alone(small_clip):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    model(small_clip).load()
    assert torch.equal(torch.rand(3), expected)


def test_the_folder_says_the_size(small_clip):
    config = json.loads((small_clip / "open_clip_config.json").read_text())
    assert model(small_clip).preprocess().image_size == config["model_cfg"]["vision_cfg"]["image_size"]
