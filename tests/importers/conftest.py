"""Files as torch.save writes them, and pickled modules of classes that are gone when they are read."""

import importlib.util
import sys
import types
import zipfile

import pytest
import torch
from torch import nn


@pytest.fixture
def write_archive(tmp_path):
    """Writes a zip file of given members, stored uncompressed below one folder, as torch.save does."""

    def write(members, name="file.pt", prefix="file/", **options):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", **options) as made:
            for member, content in members.items():
                made.writestr(prefix + member, content)
        return path

    return write


@pytest.fixture
def save_payload(write_archive):
    """Writes a file whose pickle is given, beside one storage of four float32 numbers."""

    def save(program, name="file.pt", **members):
        storage = torch.arange(4.0).numpy().tobytes()
        usual = {"data.pkl": program, "byteorder": "little", "version": "3\n", "data/0": storage}
        return write_archive(usual | members, name)

    return save


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
