import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from taskbasis.basis import PCA, Autoencoder, Basis, Exact, Identity, RandomOrthonormal
from taskbasis.errors import BasisError, StoreError, VectorError
from taskbasis.store import hashing
from taskbasis.vectors import VectorSet


@pytest.fixture
def vectors(tmp_path):
    generator = torch.Generator().manual_seed(0)
    base = {"a": torch.randn(30, 40, generator=generator), "b": torch.randn(7, generator=generator)}
    save_file(base, tmp_path / "base.safetensors")
    files = {}
    for t in range(5):
        tuned = {k: v + 0.01 * torch.randn(v.shape, generator=generator) for k, v in base.items()}
        files[f"task{t}"] = tmp_path / f"task{t}.safetensors"
        save_file(tuned, files[f"task{t}"])
    return VectorSet.task_vectors(tmp_path / "base.safetensors", files)


METHODS = [Autoencoder(M=2), Exact(M=3), PCA(M=2), Identity()]


def content(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_save_load_save_is_byte_identical(vectors, tmp_path, method):
    basis = method.fit(vectors.gram())
    first = basis.save(tmp_path / "first", vectors)
    loaded = Basis.load(first)
    from_sources = loaded.save(tmp_path / "second", vectors)
    from_atoms = loaded.save(tmp_path / "third", VectorSet.atoms(first))
    assert content(first) == content(from_sources) == content(from_atoms)
    assert torch.equal(loaded.encoder, basis.encoder)
    assert loaded.diagnostics == basis.diagnostics


def test_atoms_are_combinations_of_the_task_vectors(vectors, tmp_path):
    basis = PCA(M=2).fit(vectors.gram())
    basis.save(tmp_path / "pca", vectors)
    atoms = VectorSet.atoms(tmp_path / "pca")
    assert atoms.names == ("atom-000", "atom-001", "offset")
    for i, column in enumerate(basis.encoder.T):
        expected = vectors.combine(column).tensors()
        stored = load_file(tmp_path / "pca" / f"atom-{i:03d}.safetensors")
        assert all(torch.equal(stored[k], expected[k]) for k in expected)


def test_reconstruction_from_saved_atoms_needs_no_task_vectors(vectors, tmp_path):
    basis = PCA(M=2).fit(vectors.gram())
    basis.save(tmp_path / "pca", vectors)
    atoms = VectorSet.atoms(tmp_path / "pca")
    over_atoms = torch.cat(
        [basis.reconstruction_coefficients("atoms"), torch.ones(1, 5, dtype=torch.float64)]
    )
    ours, expected = (
        source.combine(c).gram().matrix
        for source, c in ((atoms, over_atoms), (vectors, basis.reconstruction_coefficients()))
    )
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-9)


def test_matrices_alone(vectors, tmp_path):
    basis = Exact(M=3).fit(vectors.gram())
    folder = basis.save(tmp_path / "small")
    assert sorted(content(folder)) == ["README.md", "basis.json", "matrices.safetensors"]
    assert torch.equal(Basis.load(folder).encoder, basis.encoder)
    with pytest.raises(VectorError, match="matrices of a basis alone"):
        VectorSet.atoms(folder)


def test_a_random_basis_keeps_its_seed_and_nothing_long(vectors, tmp_path):
    method = RandomOrthonormal(M=3, seed=2)
    sources = method.sources(vectors)
    basis = method.fit(sources.gram())
    folder = basis.save(tmp_path / "random", sources)
    assert sorted(content(folder)) == ["README.md", "basis.json", "matrices.safetensors"]
    assert basis.stored_bytes(10**9) < 1000
    loaded = Basis.load(folder)
    assert loaded.parameters == {"M": 3, "seed": 2}


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2), ("float16", 2)])
def test_atoms_are_stored_at_the_asked_precision(vectors, tmp_path, dtype, size):
    basis = Exact(M=2).fit(vectors.gram())
    basis.save(tmp_path / dtype, vectors, dtype=dtype)
    tensors = load_file(tmp_path / dtype / "atom-000.safetensors")
    assert {str(t.dtype) for t in tensors.values()} == {f"torch.{dtype}"}
    assert sum(t.numel() * t.element_size() for t in tensors.values()) == size * vectors.numel


def test_the_card_tells_people_what_it_is(vectors, tmp_path):
    Exact(M=2).fit(vectors.gram()).save(tmp_path / "b", vectors)
    card = (tmp_path / "b" / "README.md").read_text()
    for text in ("exact, M = 2 of T = 5", "spectral bound", "task3", "float32"):
        assert text in card


class TestRefusals:
    def test_vectors_of_other_tasks(self, vectors, tmp_path):
        basis = Exact(M=2).fit(vectors.gram())
        other = VectorSet(tuple(f"x{i}" for i in range(5)), vectors.columns)
        with pytest.raises(BasisError, match=r"not the sources of the basis: \['x0'"):
            basis.save(tmp_path / "b", other)
        assert not (tmp_path / "b").exists()

    def test_a_folder_of_anything_else(self, vectors, tmp_path):
        basis = Exact(M=2).fit(vectors.gram())
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / "important.txt").write_text("kept")
        with pytest.raises(BasisError, match=r"results holds important\.txt, which is no part of a basis"):
            basis.save(tmp_path / "results", vectors)
        basis.save(tmp_path / "b", vectors)
        (tmp_path / "b" / "merged.safetensors").write_text("kept, too")
        with pytest.raises(BasisError, match=r"b holds merged\.safetensors"):
            basis.save(tmp_path / "b", vectors)
        (tmp_path / "b" / "merged.safetensors").unlink()
        Exact(M=1).fit(vectors.gram()).save(tmp_path / "b", vectors)
        assert Basis.load(tmp_path / "b").M == 1
        assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["b", "results"]

    def test_unknown_dtype(self, vectors, tmp_path):
        with pytest.raises(BasisError, match="dtype='int8': accepted are float32, bfloat16, float16"):
            Exact(M=2).fit(vectors.gram()).save(tmp_path / "b", vectors, dtype="int8")

    @pytest.mark.parametrize("file", ["matrices.safetensors", "atom-001.safetensors"])
    def test_altered_and_missing_files(self, vectors, tmp_path, file):
        folder = Exact(M=2).fit(vectors.gram()).save(tmp_path / "b", vectors)
        path = folder / file
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(bytes(data))
        with pytest.raises(StoreError, match=rf"{file} is not what .*basis\.json says"):
            Basis.load(folder)
        path.unlink()
        with pytest.raises(StoreError, match=rf"{file} is missing"):
            Basis.load(folder)

    def test_another_format(self, vectors, tmp_path):
        folder = Exact(M=2).fit(vectors.gram()).save(tmp_path / "b")
        text = json.loads((folder / "basis.json").read_text())
        (folder / "basis.json").write_text(json.dumps(text | {"format": 99}))
        with pytest.raises(StoreError, match="not a description of format 1"):
            Basis.load(folder)

    def test_no_basis_at_all(self, tmp_path):
        with pytest.raises(StoreError, match=r"basis\.json cannot be read"):
            Basis.load(tmp_path)


def test_vectors_are_hashed_as_they_are_written_and_not_read_again(vectors, tmp_path, monkeypatch):
    read, hash_file = [], hashing._hash_file
    monkeypatch.setattr(
        hashing, "_hash_file", lambda path, state: read.append(path.name) or hash_file(path, state)
    )
    PCA(M=2).fit(vectors.gram()).save(tmp_path / "b", vectors)
    assert read == ["matrices.safetensors"]
    files = json.loads((tmp_path / "b" / "basis.json").read_text())["files"]
    for name, entry in files.items():
        assert entry["sha256"] == hashlib.sha256((tmp_path / "b" / name).read_bytes()).hexdigest()
    assert {"atom-000.safetensors", "atom-001.safetensors", "offset.safetensors"} < set(files)


def test_a_link_to_a_basis_is_followed(vectors, tmp_path):
    basis = Exact(M=2).fit(vectors.gram())
    basis.save(tmp_path / "real", vectors)
    (tmp_path / "link").symlink_to("real")
    Exact(M=1).fit(vectors.gram()).save(tmp_path / "link", vectors)
    assert (tmp_path / "link").is_symlink()
    assert Basis.load(tmp_path / "real").M == 1


def test_no_basis_is_left_when_its_facts_cannot_be_found_out(vectors, tmp_path):
    def facts():
        raise StoreError("cannot read task0.safetensors")

    with pytest.raises(StoreError, match=r"task0\.safetensors"):
        Exact(M=2).fit(vectors.gram()).save(tmp_path / "b", vectors, facts=facts)
    assert list(tmp_path.glob("*b*")) == list(tmp_path.glob("base.safetensors"))
