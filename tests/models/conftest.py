import open_clip
import pytest
import torch


@pytest.fixture(scope="session")
def random_vit_b_32():
    """The state dict of a ViT-B-32 with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return open_clip.create_model("ViT-B-32", pretrained=None, force_quick_gelu=True).state_dict()
