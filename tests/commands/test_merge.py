import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from taskbasis.basis import Basis
from taskbasis.errors import BasisError, ConfigError, StoreError


def vector_of(path, base="theta0.safetensors"):
    merged, theta0 = load_file(path), load_file(base)
    assert merged.keys() == theta0.keys()
    assert torch.equal(merged["steps"], theta0["steps"])
    names = sorted(name for name in theta0 if name != "steps")
    return torch.cat([(merged[name].double() - theta0[name]).reshape(-1) for name in names])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_atoms_of_a_basis_are_added_to_its_own_base(models, basis_folder, run_merge, capsys):
    path = run_merge(f"from={basis_folder}", "merge=sum", "alpha=0.3", "out=merged.safetensors")
    expected = models @ Basis.load(basis_folder).addition_coefficients()
    close(vector_of(path), 0.3 * expected)
    said = " ".join(capsys.readouterr().out.split())
    assert f"θ₀ + 0.3·v from 2 atoms, |v| = {float(expected.norm()):.4g}: merged.safetensors" in said


@pytest.mark.parametrize("method", ["ae", "pca", "random", "exact"])
def test_reconstructed_task_vectors_and_their_combinations(models, run_compress, run_merge, method):
    run_compress("base=theta0.safetensors", "finetuned=tuned", f"basis={method}", "M=2", "out=b")
    basis = Basis.load("b")
    if method == "random":
        run_merge("from=b", "out=atoms.safetensors")
        reconstructed = None
    else:
        reconstructed = models @ basis.reconstruction_coefficients()
    whole = run_merge("from=b", "merge.inputs=reconstructed", "alpha=0.5", "out=whole.safetensors")
    some = run_merge("from=b", "coefficients={cars: 1, dtd: -0.5}", "out=some.safetensors")
    if reconstructed is not None:
        close(vector_of(whole), 0.5 * reconstructed.sum(dim=1))
        close(vector_of(some), reconstructed[:, 0] - 0.5 * reconstructed[:, 1])
    else:
        # Orthonormal atoms: what is reconstructed is a projection, shorter than the original.
        assert float(vector_of(some).norm()) < float((models[:, 0] - 0.5 * models[:, 1]).norm())
        assert float(vector_of("atoms.safetensors").norm()) == pytest.approx(2**0.5, rel=1e-4)


def test_single_atoms_can_be_weighted_by_name(models, basis_folder, run_merge):
    path = run_merge(f"from={basis_folder}", "coefficients={atom-001: 2}", "out=m.safetensors")
    close(vector_of(path), 2 * models @ Basis.load(basis_folder).encoder[:, 1])


def test_checkpoints_are_merged_without_a_basis(models, run_merge):
    base = ("base=theta0.safetensors", "finetuned=tuned")
    close(vector_of(run_merge(*base, "alpha=0.3", "out=sum.safetensors")), 0.3 * models.sum(dim=1))
    path = run_merge(*base, "coefficients={mnist: 1, svhn: -1}", "out=analogy.safetensors")
    close(vector_of(path), models[:, 2] - models[:, 3])
    path = run_merge(*base, "select=text.", "out=text.safetensors")
    merged, theta0 = load_file(path), load_file("theta0.safetensors")
    assert torch.equal(merged["visual.w"], theta0["visual.w"])
    assert not torch.equal(merged["text.w"], theta0["text.w"])


def test_the_dtype_and_the_shards_are_those_asked_for(models, basis_folder, run_merge):
    path = run_merge(f"from={basis_folder}", "dtype=bfloat16", "out=half.safetensors")
    assert {t.dtype for t in load_file(path).values()} == {torch.bfloat16, torch.int64}
    index = run_merge(f"from={basis_folder}", "shard=250", "out=large/")
    assert index == Path("large/model.safetensors.index.json")
    assert len(list(Path("large").glob("model-*-of-*.safetensors"))) > 1


def test_a_model_folder_gets_the_small_files_of_its_base(models, run_merge):
    Path("bert").mkdir()
    shutil.copy("theta0.safetensors", "bert/model.safetensors")
    Path("bert/config.json").write_text('{"hidden": 3}')
    Path("bert/vocab.txt").write_text("a\nb\n")
    Path("bert/model.safetensors.index.json.bak").write_text("")
    run_merge("base=bert", "finetuned=tuned", "out=merged")
    assert sorted(p.name for p in Path("merged").iterdir()) == [
        "config.json",
        "model.safetensors",
        "vocab.txt",
    ]
    close(vector_of("merged/model.safetensors"), models.sum(dim=1))


class TestRefusals:
    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            ([], "give either from=DIR, a basis, or finetuned="),
            (["from=bases/ae", "finetuned=tuned"], "give either from=DIR"),
            (["finetuned=tuned"], "base: the pretrained weights are needed"),
            (["from=bases/ae", "alpha=much"], "alpha='much': accepted is a finite number"),
            (["from=bases/ae", "alpha=nan"], "alpha=nan: accepted is a finite number"),
            (["from=bases/ae", "dtype=int8"], "dtype='int8': accepted are null, float32"),
            (["from=bases/ae", "shard=large"], "shard='large': accepted is a number of bytes"),
            (["from=bases/ae", "coefficients=3"], "coefficients=3: accepted is a mapping"),
            (
                ["from=bases/ae", "coefficients={cars: x}"],
                "coefficients.cars='x': accepted is a finite number",
            ),
            (
                ["from=bases/ae", "coefficients={dogs: 1}"],
                r"unknown \['dogs'\]; accepted: cars, dtd, mnist, svhn",
            ),
            (["from=bases/ae", "coefficients={cars: 1, atom-000: 1}"], r"unknown \['atom-000'\]"),
            (["base=theta0.safetensors", "finetuned=tuned", "coefficients={dogs: 1}"], r"unknown \['dogs'\]"),
            (["from=bases/ae", "merge.inputs=tasks"], "accepted with a basis are atoms, reconstructed"),
            (["from=bases/ae", "merge.inputs=foo"], "merge.inputs='foo'"),
            (
                ["base=theta0.safetensors", "finetuned=tuned", "merge.inputs=reconstructed"],
                "merge.inputs=reconstructed goes with a basis",
            ),
            (["from=bases/ae", "select=visual."], "a basis has its own selection"),
            (["from=bases/ae", "+nonsense=1"], "unknown key nonsense; accepted: from, base"),
            (["from=nowhere"], r"nowhere/basis\.json cannot be read"),
            (
                ["from=bases/ae", "base=tuned/cars.safetensors"],
                r"is not the file .* \(xxh3_128 differs",
            ),
        ],
    )
    def test_each_is_one_clear_message_and_leaves_nothing(self, basis_folder, run_merge, overrides, message):
        before = sorted(Path().rglob("*"))
        with pytest.raises((ConfigError, BasisError, StoreError), match=message):
            run_merge(*overrides, "out=m.safetensors")
        assert sorted(Path().rglob("*")) == before

    def test_an_input_is_never_overwritten(self, models, basis_folder, run_merge):
        for out in ("theta0.safetensors", "bases/ae/atom-000.safetensors"):
            with pytest.raises(ConfigError, match="is one of the inputs"):
                run_merge(f"from={basis_folder}", f"out={out}")

    def test_no_shard_of_an_input_is_overwritten(self, models, run_merge):
        run_merge("base=theta0.safetensors", "finetuned=tuned", "out=big", "shard=200")
        before = {path: path.read_bytes() for path in Path("big").iterdir()}
        for shard in ("shard=200", "shard=null"):
            with pytest.raises(ConfigError, match="is one of the inputs"):
                run_merge("base=big", "finetuned={x: tuned/cars.safetensors}", "out=big", shard)
        assert {path: path.read_bytes() for path in Path("big").iterdir()} == before

    def test_noise_of_another_kind_or_length_is_not_taken_for_that_of_a_random_basis(
        self, models, run_compress, run_merge, monkeypatch
    ):
        run_compress("base=theta0.safetensors", "finetuned=tuned", "basis=random", "M=2", "out=r")
        run_merge("from=r", "out=m.safetensors")
        description = json.loads(Path("r/basis.json").read_text())
        changed = description | {"parameters": description["parameters"] | {"seed": 1}}
        Path("r/basis.json").write_text(json.dumps(changed))
        with pytest.raises(BasisError, match=r"\(M=2, seed=1\) is not the noise it was fitted to"):
            run_merge("from=r", "out=n.safetensors")
        changed = description | {"inputs": description["inputs"] | {"select": "visual."}}
        Path("r/basis.json").write_text(json.dumps(changed))
        with pytest.raises(BasisError, match=r"of vectors of 118 elements, and theta0\.safetensors has 93"):
            run_merge("from=r", "base=theta0.safetensors", "out=n.safetensors")
        assert not Path("n.safetensors").exists()

    def test_paths_may_look_like_numbers(self, models, run_compress, run_merge):
        run_compress("base=theta0.safetensors", "finetuned=tuned", "M=1", "out=8")
        assert run_merge("from=8", "out=2024") == Path("2024/model.safetensors")

    def test_a_base_that_moved_has_to_be_named(self, models, basis_folder, run_merge):
        Path("theta0.safetensors").rename("elsewhere.safetensors")
        with pytest.raises(ConfigError, match=r"does not say where .* give base=PATH"):
            run_merge(f"from={basis_folder}", "out=m.safetensors")
        path = run_merge(f"from={basis_folder}", "base=elsewhere.safetensors", "out=m.safetensors")
        expected = models @ Basis.load(basis_folder).addition_coefficients()
        close(vector_of(path, "elsewhere.safetensors"), expected)

    def test_a_damaged_atom_is_named(self, models, basis_folder, run_merge):
        tensors = load_file("bases/ae/atom-001.safetensors")
        tensors["text.w"] += 1
        save_file(tensors, "bases/ae/atom-001.safetensors")
        with pytest.raises(StoreError, match=r"atom-001\.safetensors is not what"):
            run_merge(f"from={basis_folder}", "out=m.safetensors")

    def test_matrices_alone_cannot_be_merged(self, models, basis_folder, run_merge):
        Basis.load(basis_folder).save("matrices")
        with pytest.raises(BasisError, match="matrices of a basis alone"):
            run_merge("from=matrices", "base=theta0.safetensors", "out=m.safetensors")


def test_a_basis_with_an_unknown_base_says_so(models, basis_folder, run_merge):
    description = Path(basis_folder, "basis.json")
    stored = json.loads(description.read_text())
    stored["inputs"]["base"]["path"] = None
    description.write_text(json.dumps(stored))
    with pytest.raises(ConfigError, match="give base=PATH"):
        run_merge(f"from={basis_folder}", "out=m.safetensors")
