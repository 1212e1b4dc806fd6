import pytest
import torch
from safetensors.torch import save_file

from taskbasis import compress, merge
from taskbasis.config import compose_entry, register_schema

NAMES = ("cars", "dtd", "mnist", "svhn")


@pytest.fixture
def models(tmp_path, monkeypatch):
    """θ₀ and four fine-tuned models in the working folder; the task vectors as dense columns (D, 4)."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    shapes = {"visual.w": (12, 7), "visual.b": (9,), "text.w": (5, 5)}
    base = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    steps = {"steps": torch.tensor([3])}
    save_file(base | steps, "theta0.safetensors")
    (tmp_path / "tuned").mkdir()
    shared = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    columns = []
    for task in NAMES:
        tuned = {n: v + shared[n] + 0.1 * torch.randn(v.shape, generator=generator) for n, v in base.items()}
        save_file(tuned | steps, f"tuned/{task}.safetensors")
        columns.append(torch.cat([(tuned[n].double() - base[n]).reshape(-1) for n in sorted(base)]))
    return torch.stack(columns, dim=1)


@pytest.fixture
def run_compress():
    """Runs ``taskbasis.compress`` with overrides in this process; the basis."""

    def run(*overrides):
        register_schema("compress_schema", compress.CompressConfig)
        return compress.run(compose_entry("compress", overrides))

    return run


@pytest.fixture
def run_merge():
    """Runs ``taskbasis.merge`` with overrides in this process; the file it wrote."""

    def run(*overrides):
        return merge.run(compose_entry("merge", overrides))

    return run


@pytest.fixture
def basis_folder(models, run_compress):
    """A basis of the four models."""
    run_compress("base=theta0.safetensors", "finetuned=tuned", "M=2", "out=bases/ae")
    return "bases/ae"
