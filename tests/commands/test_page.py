"""The page on one's own checkpoints is carried out from top to bottom, as a reader would."""

import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from taskbasis.convert import main as convert
from taskbasis.show import main as show

PAGE = Path(__file__).resolve().parents[2] / "docs" / "checkpoints.md"


def blocks():
    """Language and content of every code block, in order."""
    parts = PAGE.read_text().split("```")[1::2]
    return [tuple(part.split("\n", 1)) for part in parts]


def test_the_page_runs_from_top_to_bottom(models, run_compress, run_merge, monkeypatch, capsys):
    pytest.importorskip("transformers")
    Path("checkpoints/ViT-B-32/CarsVal").mkdir(parents=True)
    state = {"model.visual.proj": torch.ones(2, 3), "model.text_projection": torch.ones(2, 2)}
    torch.save(state, "checkpoints/ViT-B-32/CarsVal/finetuned.pt")
    programs = {
        "taskbasis.compress": lambda words: run_compress(*words),
        "taskbasis.merge": lambda words: run_merge(*words),
        "taskbasis.show": show,
        "taskbasis.convert": convert,
    }
    scope, ran = {}, []
    for language, text in blocks():
        if language == "python":
            exec(text, scope)
            continue
        for line in text.strip().splitlines():
            python, option, program, *words = shlex.split(line)
            assert (python, option) == ("python", "-m")
            programs[program](words)
            ran.append(program)
    assert set(ran) == set(programs)
    theta0, merged = load_file("theta0.safetensors"), load_file("sum.safetensors")
    assert merged.keys() == theta0.keys()
    assert scope["grown"].names == ("cars", "dtd", "mnist")
    base, model = load_file("bert/model.safetensors"), scope["merged"].state_dict()
    name = "encoder.layer.0.output.dense.weight"
    assert 0 < float((model[name] - base[name]).norm()) < 1
    assert list(load_file("converted/CarsVal/finetuned.safetensors")) == ["visual.proj"]
    assert load_file("vectors/combined.safetensors")["visual.w"].dtype == torch.bfloat16
