from pathlib import Path

import numpy as np
import pytest
import torch

from taskbasis.vectors import Gram

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture(scope="session")
def published_grams():
    """Gram matrices of the published code's experiments, by name."""
    stored = np.load(FIXTURES / "grams.npz")
    matrices = {name: torch.from_numpy(stored[name]) for name in stored.files}
    return {n: Gram((G + G.T) / 2, tuple(f"t{i}" for i in range(len(G)))) for n, G in matrices.items()}
