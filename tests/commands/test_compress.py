import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from xxhash import xxh3_128

from taskbasis.basis import Basis
from taskbasis.checkpoints import named_checkpoints, relative_place
from taskbasis.errors import BasisError, ConfigError, VectorError
from taskbasis.vectors import VectorSet

BASE, ALL = "base=theta0.safetensors", "finetuned=tuned"
MAPPING = "finetuned={cars: tuned/cars.safetensors, dtd: tuned/dtd.safetensors}"


def flat(tensors):
    return torch.cat([tensors[name].double().reshape(-1) for name in sorted(tensors)])


@pytest.mark.parametrize("method", ["ae", "exact", "pca", "random", "random_sample", "none"])
def test_every_method_reconstructs_as_well_as_it_says(models, run_compress, method):
    basis = run_compress(BASE, ALL, f"basis={method}", "M=2", "out=b")
    again = Basis.load("b")
    assert again.tasks == ("cars", "dtd", "mnist", "svhn")
    if method == "random":
        assert not list(Path("b").glob("atom-*"))
        return
    stored = VectorSet.atoms("b")
    S = torch.stack([flat(load_file(f"b/{name}.safetensors")) for name in stored.names], dim=1)
    C = torch.cat([again.decoder, torch.ones(S.shape[1] - again.M, 4, dtype=torch.float64)])
    error = float((S @ C - models).norm() / models.norm())
    assert error == pytest.approx(basis.diagnostics.relative_error, abs=1e-5)


@pytest.mark.parametrize(
    "given", ["finetuned=tuned", "finetuned=list.yaml", "finetuned=map.yml", "finetuned=[{paths}]"]
)
def test_checkpoints_can_be_given_as_folder_list_or_file(models, run_compress, given):
    paths = [f"tuned/{name}.safetensors" for name in ("cars", "dtd", "mnist", "svhn")]
    Path("list.yaml").write_text("\n".join(f"- {path}" for path in paths))
    Path("map.yml").write_text("\n".join(f"{Path(path).stem}: {path}" for path in paths))
    basis = run_compress(BASE, given.format(paths=", ".join(paths)), "basis=exact", "M=T/2", "out=b")
    assert basis.tasks == ("cars", "dtd", "mnist", "svhn")
    assert basis.M == 2


def test_paths_of_a_yaml_file_count_from_its_folder(models, run_compress):
    Path("tuned/list.yaml").write_text("[cars.safetensors, dtd.safetensors]")
    assert run_compress(BASE, "finetuned=tuned/list.yaml", "M=1", "out=b").tasks == ("cars", "dtd")


def test_a_folder_of_model_folders_without_the_base(models):
    for name in ("base", "first", "second"):
        Path("models", name).mkdir(parents=True)
        shutil.copy("theta0.safetensors", f"models/{name}/model.safetensors")
    found = named_checkpoints("models", exclude=Path("models/base"))
    assert found == {"first": Path("models/first"), "second": Path("models/second")}
    assert list(named_checkpoints(["models/first/model.safetensors"])) == ["first"]


def test_checkpoints_in_shards_count_like_others_in_a_folder(models, run_compress, run_merge):
    whole = run_compress(BASE, ALL, "M=2", "out=whole")
    run_merge(BASE, "finetuned={dtd: tuned/dtd.safetensors}", "out=sharded/dtd.safetensors", "shard=200")
    Path("tuned/dtd.safetensors").unlink()
    for file in Path("sharded").iterdir():
        file.rename(Path("tuned") / file.name)
    assert len(list(Path("tuned").glob("dtd*"))) > 2
    sharded = run_compress(BASE, ALL, "M=2", "out=sharded_basis")
    assert sharded.tasks == whole.tasks
    torch.testing.assert_close(sharded.encoder, whole.encoder, rtol=1e-3, atol=1e-4)


def test_the_selection_and_the_dtype_are_those_asked_for(models, run_compress):
    run_compress(BASE, ALL, "M=1", "out=b", "select=visual.", "dtype=bfloat16")
    tensors = load_file("b/atom-000.safetensors")
    assert sorted(tensors) == ["visual.b", "visual.w"]
    assert {t.dtype for t in tensors.values()} == {torch.bfloat16}
    run_compress(BASE, ALL, "M=1", "out=c", r"select='/\.w$/'")
    assert sorted(load_file("c/atom-000.safetensors")) == ["text.w", "visual.w"]


def test_the_basis_says_what_it_was_made_of(models, run_compress):
    run_compress(BASE, ALL, "M=2", "out=bases/b")
    description = json.loads(Path("bases/b/basis.json").read_text())
    inputs = description["inputs"]
    content = Path("tuned/dtd.safetensors").read_bytes()
    assert inputs["finetuned"]["dtd"]["xxh3_128"] == [xxh3_128(content).hexdigest()]
    assert inputs["base"]["path"] == "../../theta0.safetensors"
    gram = torch.tensor(description["gram"], dtype=torch.float64)
    torch.testing.assert_close(gram, models.T @ models, rtol=1e-5, atol=1e-7)
    assert str(Path.cwd()) not in Path("bases/b/basis.json").read_text()


def test_a_home_folder_is_not_spelt_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/alice")
    assert (
        relative_place(Path("/home/alice/x/theta0.safetensors"), Path("/home/alice/y/b"))
        == "../../x/theta0.safetensors"
    )
    assert relative_place(Path("/home/alice/theta0.safetensors"), Path("/data/b")) is None
    assert relative_place(Path("/data/theta0.safetensors"), Path("/data/b")) == "../theta0.safetensors"


def test_inputs_can_be_hashed_as_hubs_do_or_not_at_all(models, run_compress):
    run_compress(BASE, ALL, "M=2", "out=b", "hash=sha256")
    base = json.loads(Path("b/basis.json").read_text())["inputs"]["base"]
    assert base["sha256"] == [hashlib.sha256(Path("theta0.safetensors").read_bytes()).hexdigest()]
    run_compress(BASE, ALL, "M=2", "out=c", "hash=null")
    assert not {"sha256", "xxh3_128"} & set(json.loads(Path("c/basis.json").read_text())["inputs"]["base"])


def test_an_unknown_hash_is_refused(models, run_compress):
    with pytest.raises(ConfigError, match=r"hash='md5': accepted are sha256, xxh3_128, null"):
        run_compress(BASE, ALL, "M=2", "out=b", "hash=md5")
    assert not Path("b").exists()


def test_an_existing_basis_is_replaced(models, run_compress):
    run_compress(BASE, ALL, "M=3", "out=b")
    run_compress(BASE, ALL, "M=1", "out=b")
    assert Basis.load("b").M == 1
    assert not Path("b/atom-001.safetensors").exists()


class TestRefusals:
    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            ([BASE, "finetuned=nowhere"], "finetuned='nowhere': accepted are a mapping"),
            ([BASE, "finetuned={}"], "no checkpoint is there"),
            ([BASE, "finetuned={a: 3}"], "finetuned: 3 is not a path"),
            (
                [BASE, "finetuned=[tuned/cars.safetensors, tuned/cars.safetensors]"],
                "would both be called 'cars'",
            ),
            ([BASE, "finetuned=broken.yaml"], "broken.yaml cannot be read as YAML"),
            ([BASE, MAPPING, "M=0"], "M=0 is not possible for 2 tasks"),
            ([BASE, MAPPING, "M=many"], "M='many' is not understood"),
            ([BASE, MAPPING, "basis=foo"], "Available options in 'basis'"),
            ([BASE, MAPPING, "+depth=3"], "unknown key depth; accepted: base, finetuned"),
            ([BASE, MAPPING, "nonsense=1"], "Key 'nonsense' not in 'CompressConfig'"),
            ([BASE, MAPPING, "dtype=int8"], "dtype='int8': accepted are float32"),
            ([BASE, MAPPING, "precision=half"], "precision='half': accepted are float32, float64"),
            ([BASE, MAPPING, "device=abacus"], "device='abacus'"),
            ([BASE, MAPPING, "select=audio."], "no floating-point tensor whose name begins with 'audio.'"),
            ([BASE, MAPPING, "select='/(/'"], r"select='/\(/' is not a regular expression"),
            ([MAPPING], "base: needed as base=…; --help shows examples"),
            (["base=absent.safetensors", MAPPING], "no such file: absent.safetensors"),
        ],
    )
    def test_each_is_one_clear_message_and_leaves_nothing(self, models, run_compress, overrides, message):
        Path("broken.yaml").write_text("a: [")
        before = sorted(Path().rglob("*"))
        with pytest.raises(Exception, match=message) as caught:
            run_compress(*overrides, "out=b")
        assert type(caught.value).__module__.split(".")[0] in ("taskbasis", "omegaconf")
        assert sorted(Path().rglob("*")) == before

    def test_a_folder_of_something_else_is_never_replaced(self, models, run_compress):
        for out in ("tuned", "theta0.safetensors"):
            with pytest.raises(ConfigError, match=f"out={out} exists and is not a basis"):
                run_compress(BASE, ALL, "M=1", f"out={out}")
        assert len(list(Path("tuned").iterdir())) == 4

    def test_a_model_that_lies_in_a_basis_folder_is_not_lost(self, models, run_compress):
        run_compress(BASE, ALL, "M=1", "out=b")
        Path("b/merged.safetensors").write_text("mine")
        with pytest.raises(ConfigError, match=r"out=b holds merged\.safetensors, which would be lost"):
            run_compress(BASE, ALL, "M=2", "out=b")
        assert Path("b/merged.safetensors").read_text() == "mine"

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("M=5", "M=5 is not possible for 4 tasks; accepted: 1 ≤ M ≤ 4"),
            ("dtype=int8", "dtype='int8': accepted are float32"),
            ("threads=0", "threads=0: accepted are 1 and more"),
        ],
    )
    def test_what_is_impossible_is_refused_before_anything_is_read(
        self, models, run_compress, monkeypatch, override, message
    ):
        monkeypatch.setattr(VectorSet, "gram", lambda *_, **__: pytest.fail("the checkpoints were read"))
        with pytest.raises((BasisError, ConfigError), match=message):
            run_compress(BASE, ALL, "basis=exact", override, "out=b")

    def test_a_basis_folder_that_holds_an_input_is_not_replaced(self, models, run_compress):
        run_compress(BASE, ALL, "M=1", "out=b")
        shutil.copy("theta0.safetensors", "b/theta0.safetensors")
        with pytest.raises(ConfigError, match="holds the input"):
            run_compress("base=b/theta0.safetensors", ALL, "M=1", "out=b")

    def test_models_of_different_activation_are_refused(self, models, run_compress):
        for path, quick in (("theta0", "true"), ("tuned/dtd", "false")):
            tensors = load_file(f"{path}.safetensors")
            save_file(tensors, f"{path}.safetensors", metadata={"quick_gelu": quick})
        with pytest.raises(VectorError, match=r"dtd\.safetensors \(dtd\) has quick_gelu=false, .* has true"):
            run_compress(BASE, ALL, "M=1", "out=b")

    def test_a_bad_value_names_file_and_tensor(self, models, run_compress):
        tensors = load_file("tuned/svhn.safetensors")
        tensors["text.w"][0, 0] = float("nan")
        save_file(tensors, "tuned/svhn.safetensors")
        with pytest.raises(VectorError, match=r"svhn\.safetensors: the tensor 'text\.w'"):
            run_compress(BASE, ALL, "M=1", "out=b")
        assert not Path("b").exists()
