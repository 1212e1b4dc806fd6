"""Files as torch.save writes them, from content that is given."""

import zipfile

import pytest
import torch


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
