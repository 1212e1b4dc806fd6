from __future__ import annotations

from pathlib import Path

import pytest
import torch
from open_clip import build_zero_shot_classifier
from safetensors.torch import load_file, save_file

from taskbasis.data.mini import TASKS, draw_split
from taskbasis.errors import ModelError
from taskbasis.models.tiny import IMAGE_SIZE, MEAN, STD, TinyTokenizer, load_tiny
from taskbasis.models.tiny.weights import SHIPPED

SPECS = {spec.name: spec for spec in TASKS}


@pytest.fixture(scope="module")
def tokenizer() -> TinyTokenizer:
    return TinyTokenizer.covering(["a happy face.", "the letter b."], context_length=8)


def test_end_of_text_is_the_largest_id(tokenizer: TinyTokenizer) -> None:
    ids = tokenizer(["a face", "the letter b"])
    assert ids.shape == (2, 8)
    assert ids.max() == tokenizer.vocab_size - 1
    assert (ids == tokenizer.vocab_size - 1).sum(1).tolist() == [1, 1]


def test_known_text_survives_the_round_trip(tokenizer: TinyTokenizer) -> None:
    assert tokenizer.decode(tokenizer("the happy letter b")[0].tolist()) == "the happy letter b"


def test_unknown_words_become_the_unknown_id(tokenizer: TinyTokenizer) -> None:
    assert tokenizer.encode("a zebra")[1:] == [1] * (len(tokenizer.encode("a zebra")) - 1)
    assert "<unknown>" in tokenizer.decode(tokenizer("a zebra")[0].tolist())


def test_long_text_is_cut_but_keeps_its_end(tokenizer: TinyTokenizer) -> None:
    ids = tokenizer("a " * 30)
    assert ids.shape == (1, 8)
    assert ids[0, -1] == tokenizer.vocab_size - 1


def test_every_prompt_of_the_suite_is_known_and_fits() -> None:
    _, shipped = load_tiny()
    for spec in TASKS:
        for name in spec.classes:
            for template in spec.templates:
                ids = shipped.encode(template.format(name))
                assert 1 not in ids
                assert len(ids) <= shipped.context_length - 2


def test_shipped_file_is_small_and_half_precision() -> None:
    assert SHIPPED.stat().st_size <= 6_000_000
    assert {tensor.dtype for tensor in load_file(SHIPPED).values()} == {torch.float16}


def test_model_is_ready_for_evaluation() -> None:
    state = torch.random.get_rng_state()
    model, _ = load_tiny()
    assert torch.equal(state, torch.random.get_rng_state())
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert isinstance(model.visual.transformer.resblocks[0].mlp.gelu, torch.nn.GELU)


@pytest.mark.parametrize("task", ["charts", "flags", "greek"])
def test_zero_shot_beats_chance_on_development_drawings(task: str) -> None:
    model, tokenizer = load_tiny()
    spec = SPECS[task]
    head = build_zero_shot_classifier(model, tokenizer, spec.classes, spec.templates)
    images, labels = draw_split(task, "val", 160, seed=1000)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        features = model.encode_image((images / 255 - mean) / std, normalize=True)
    assert images.shape[-1] == IMAGE_SIZE
    accuracy = ((features @ head).argmax(1) == labels).float().mean()
    chance = 1 / len(spec.classes)
    assert accuracy > chance + 3 * (chance * (1 - chance) / len(labels)) ** 0.5


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.safetensors"):
        load_tiny(tmp_path / "nowhere.safetensors")


def _without_metadata(path: Path) -> None:
    save_file(load_file(SHIPPED), path)


def _truncated(path: Path) -> None:
    path.write_bytes(SHIPPED.read_bytes()[:100_000])


def _noise(path: Path) -> None:
    path.write_bytes(b"not weights at all")


def _missing_tensor(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(SHIPPED, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(SHIPPED)
    tensors.pop("visual.proj")
    save_file(tensors, path, metadata)


@pytest.mark.parametrize("damage", [_without_metadata, _truncated, _noise, _missing_tensor])
def test_damaged_weights_are_refused_in_one_line(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "hurt.safetensors"
    damage(path)  # type: ignore[operator]
    with pytest.raises(ModelError, match=r"hurt\.safetensors") as caught:
        load_tiny(path)
    assert "\n" not in str(caught.value)
