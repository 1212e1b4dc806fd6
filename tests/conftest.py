"""Session fixtures: one small run of the real pipeline that many tests look at."""

import importlib.util
import json
import os
import subprocess
import sys
import types
from functools import partial
from pathlib import Path

import pytest
import torch
import vision_formats as formats
from torch import nn

REPOSITORY = Path(__file__).resolve().parent.parent
SMALL = [
    "scenario=8",
    "+smoke=true",
    "tracker=none",
    "trainer=cpu",
    "verbosity=quiet",
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_fixtures():
    """Files that the published code wrote: ``../shared/fixtures``, or where TASKBASIS_FIXTURES says."""
    folder = Path(os.environ.get("TASKBASIS_FIXTURES", REPOSITORY.parent / "shared" / "fixtures"))
    if not folder.is_dir():
        pytest.skip("the published code's own files are not beside this checkout (TASKBASIS_FIXTURES)")
    return folder


@pytest.fixture
def lineage(tmp_path):
    """Pickles modules of a package ``src.modeling`` that no longer exists when they are read."""
    module = types.ModuleType("src.modeling")

    class ImageEncoder(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.cache_dir = model, None

    class ClassificationHead(nn.Linear):
        def __init__(self, weight):
            super().__init__(*weight.T.shape)
            self.weight, self.normalize = nn.Parameter(weight), True

    for kind in (ImageEncoder, ClassificationHead):
        kind.__module__, kind.__qualname__ = "src.modeling", kind.__name__
        setattr(module, kind.__name__, kind)

    def save(make, name):
        sys.modules |= {"src": types.ModuleType("src"), "src.modeling": module}
        try:
            torch.save(make(module), tmp_path / name)
        finally:
            del sys.modules["src"], sys.modules["src.modeling"]
        assert importlib.util.find_spec("src") is None
        return tmp_path / name

    return save


@pytest.fixture(scope="session")
def command():
    """Runs ``python -m <module> <arguments>`` as a user would; returns the finished process."""

    def run(*arguments, cwd, module="taskbasis.run", environment=None, timeout=600):
        env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
        env |= {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "120", "NO_COLOR": "1", **(environment or {})}
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def small_store(tmp_path_factory):
    """A store that the tests of one session share."""
    return tmp_path_factory.mktemp("small") / "store"


@pytest.fixture(scope="session")
def run_small(small_store, tmp_path_factory):
    """Runs a reduced job in this process: two tasks, 20 training steps; returns its ``result.json``."""
    from taskbasis.config import compose
    from taskbasis.run import run

    def go(*overrides, store=None, runs=None):
        runs = runs or tmp_path_factory.mktemp("runs")
        places = [f"paths.store={store or small_store}", f"paths.runs={runs}"]
        result = run(compose([*SMALL, "trainer.workers=1", *places, *overrides]))
        written = json.loads((runs / result["run"]["id"] / "result.json").read_text())
        assert written == result
        return result

    return go


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    """A store of the module's own, for tests that look into it."""
    return tmp_path_factory.mktemp("own") / "store"


@pytest.fixture(scope="module")
def run_own(run_small, own_store):
    """As ``run_small``, with the module's own store."""
    return partial(run_small, store=own_store)


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory):
    """A model folder of open_clip: a small CLIP of random weights on images of 64 pixels."""
    vision = {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32}
    return formats.random_clip(tmp_path_factory.mktemp("models") / "small-clip", 32, vision)
