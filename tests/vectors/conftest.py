import pytest
import torch
from safetensors.torch import save_file

SHAPES = {"visual.w": (7, 11), "visual.b": (13,), "visual.deep.k": (3, 2, 5)}


@pytest.fixture
def make_checkpoints(tmp_path):
    """Writes θ₀ and T fine-tuned checkpoints; returns their paths and the dense task vectors (D, T)."""

    def make(T=5, seed=0, dtype=torch.float32, shapes=None, scale=0.1):
        generator = torch.Generator().manual_seed(seed)
        shapes = shapes or SHAPES
        base = {k: torch.randn(s, generator=generator).to(dtype) for k, s in shapes.items()}
        extra = {"steps": torch.tensor([3], dtype=torch.int64)}
        save_file(base | extra, tmp_path / "base.safetensors")
        paths, columns = {}, []
        for t in range(T):
            delta = {k: scale * torch.randn(s, generator=generator) for k, s in shapes.items()}
            tuned = {k: (v.double() + delta[k]).to(dtype) for k, v in base.items()}
            paths[f"task{t}"] = tmp_path / f"task{t}.safetensors"
            save_file(tuned | {"steps": torch.tensor([t])}, paths[f"task{t}"])
            columns.append(
                torch.cat([(tuned[k].double() - base[k].double()).reshape(-1) for k in sorted(shapes)])
            )
        return tmp_path / "base.safetensors", paths, torch.stack(columns, dim=1)

    return make
