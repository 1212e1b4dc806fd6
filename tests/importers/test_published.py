"""The published code's own files reproduce, once imported, the numbers that it wrote beside them."""

import json

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from taskbasis.basis import Basis
from taskbasis.convert import main as convert
from taskbasis.importers import import_checkpoint
from taskbasis.ingredients import from_basis
from taskbasis.vectors import VectorSet

TASKS = ("Cars", "DTD", "EuroSAT", "GTSRB", "MNIST", "RESISC45", "SVHN", "SUN397")
ALPHAS = [float(alpha) for alpha in np.linspace(0.0, 1.0, 21)]
RUNS = {
    "ae": "AutoencoderBasisMethod_standard_M4_lr0.01_tau5_steps6k_bcFull_seed0_8task_1795316959",
    "pca": "PCABasisMethod_standard_M4_seed0_8task_1795316959",
    "random": "RandomBasisMethod_standard_M4_seed0_8task_1795316959",
    "random_sample": "RandomSampleMethod_standard_M4_seed0_8task_1795316959",
}


class Published:
    """The published files, converted once, and what is needed to score models with them."""

    def __init__(self, folder, converted):
        self.folder, self.converted = folder, converted
        self.root = folder / "checkpoints" / "ViT-tiny-tvb__init__"
        assert convert([str(self.root), str(converted), "--select", "visual."]) == 0
        self.data = torch.load(folder / "eval_data.pt", weights_only=True)
        self.theta0 = load_file(converted / "zeroshot.safetensors")
        self.visual = self.tower(quick_gelu=False)

    def tower(self, quick_gelu):
        config = json.loads((self.folder / "ViT-tiny-tvb.json").read_text())
        vision = open_clip.CLIPVisionCfg(**config["vision_cfg"])
        text = open_clip.CLIPTextCfg(**config["text_cfg"])
        return open_clip.CLIP(config["embed_dim"], vision, text, quick_gelu=quick_gelu).visual.eval()

    def numbers(self, *place):
        return json.loads(self.root.joinpath(*place).read_text())

    def file(self, task):
        return self.converted / f"{task}Val" / "finetuned.safetensors"

    @torch.no_grad()
    def top1(self, vector, alpha, name):
        """Accuracy of θ₀ + α·v on a dataset such as ``CarsVal``."""
        module = nn.ModuleDict({"visual": self.visual})
        vector.apply_(module, self.theta0, alpha)
        return self.score(name)

    def score(self, name):
        head = load_file(self.converted / f"head_{name.removesuffix('Val')}Val.safetensors")
        images, labels = self.data[name]
        features = nn.functional.normalize(self.visual(images.float() / 32), dim=-1)
        predicted = nn.functional.linear(features, head["weight"], head["bias"]).argmax(dim=1)
        return int((predicted == labels).sum()) / len(labels)


@pytest.fixture(scope="module")
def published(shared_fixtures, tmp_path_factory):
    torch.set_num_threads(1)
    return Published(shared_fixtures / "authors_code_new", tmp_path_factory.mktemp("converted"))


@pytest.fixture(scope="module")
def task_vectors(published):
    files = {task: published.file(task) for task in TASKS}
    return VectorSet.task_vectors(published.converted / "zeroshot.safetensors", files)


def check_addition(published, vector, written):
    for alpha in ALPHAS:
        for task in TASKS:
            assert (
                published.top1(vector, alpha, f"{task}Val") == written["val"][str(alpha)][f"{task}Val:top1"]
            )
    for task in TASKS:
        assert published.top1(vector, written["optimal_coefficient"], task) == written["test"][f"{task}:top1"]


def check_negation(published, vectors, written):
    for task, vector in vectors.items():
        for alpha in ALPHAS:
            expected = written[task]["val"][str(alpha)]
            for name in (f"{task}Val", "ImageNetVal"):
                assert published.top1(vector, -alpha, name) == expected[f"{name}:top1"]


def test_single_models_score_what_was_written(published, task_vectors):
    zero, tuned = published.numbers("zeroshot_accuracies.json"), published.numbers("ft_accuracies.json")
    whole = task_vectors.combine(torch.ones(len(TASKS)))
    for name, expected in zero.items():
        assert published.top1(whole, 0.0, name) == expected
    for task in TASKS:
        state = {k.removeprefix("visual."): v for k, v in load_file(published.file(task)).items()}
        published.visual.load_state_dict(state)
        for name in (task, f"{task}Val"):
            assert published.score(name) == tuned[name]


def test_task_arithmetic_gives_the_published_grids(published, task_vectors):
    whole = task_vectors.combine(torch.ones(len(TASKS)))
    check_addition(published, whole, published.numbers("additions_8task.json"))
    one = {task: task_vectors.combine(row) for task, row in zip(TASKS, torch.eye(8), strict=True)}
    check_negation(published, one, published.numbers("negations_8task.json"))


@pytest.mark.parametrize("method", RUNS)
def test_imported_bases_give_the_published_grids(published, method):
    folder = published.converted / "_basis_runs" / RUNS[method]
    base = published.converted / "zeroshot.safetensors"
    atoms = from_basis(folder, base, "atoms")
    whole = atoms.merged(dict.fromkeys(atoms.names, 1.0))
    check_addition(published, whole, published.numbers("_basis_runs", RUNS[method], "additions_8task.json"))
    if method == "random_sample":
        return
    tasks = from_basis(folder, base, "reconstructed")
    assert tasks.names == TASKS
    vectors = {task: tasks.merged({task: 1.0}) for task in TASKS}
    check_negation(published, vectors, published.numbers("_basis_runs", RUNS[method], "negations_8task.json"))


@pytest.mark.parametrize(("method", "key"), [("ae", "AE"), ("pca", "PCA"), ("random", "Random")])
def test_reconstructed_vectors_have_the_published_norms(published, tmp_path, method, key):
    source = published.root / "_basis_runs" / RUNS[method]
    assert convert([str(source), str(tmp_path / "basis")]) == 0
    basis = Basis.load(tmp_path / "basis")
    stored = VectorSet.atoms(tmp_path / "basis")
    C = torch.cat([basis.decoder, torch.ones(len(stored) - basis.M, len(TASKS), dtype=torch.float64)])
    expected = json.loads((published.folder / "expected.json").read_text())[key]["recovered_norms"]
    torch.testing.assert_close(stored.combine(C).gram().norms.tolist(), expected, rtol=1e-5, atol=0)


def test_the_atoms_of_an_imported_autoencoder_are_combinations_of_the_task_vectors(published, task_vectors):
    folder = published.converted / "_basis_runs" / RUNS["ae"]
    basis = Basis.load(folder)
    for m in range(basis.M):
        made = task_vectors.combine(basis.encoder[:, m]).tensors()
        stored = load_file(folder / f"atom-{m:03d}.safetensors")
        for name in stored:
            torch.testing.assert_close(made[name], stored[name], rtol=1e-4, atol=1e-6)


def test_a_decoder_with_softmax_is_taken_as_it_was_saved(published, tmp_path):
    (source,) = (published.root / "_basis_runs").glob("*_smW_*")
    assert convert([str(source), str(tmp_path / "basis")]) == 0
    decoder = Basis.load(tmp_path / "basis").decoder
    # Each column is a softmax already: the published loader, which applies it once more, flattens them.
    torch.testing.assert_close(decoder.sum(dim=0), torch.ones(8, dtype=torch.float64), rtol=0, atol=1e-6)


def test_a_quickgelu_encoder_says_so_and_computes_its_features(published):
    source = published.folder / "quickgelu"
    found = import_checkpoint(source / "zeroshot.pt")
    assert found.facts["quick_gelu"] == "true"
    expected = torch.load(source / "features.pt", weights_only=True)
    state = {k.removeprefix("visual."): v for k, v in found.tensors.items() if k.startswith("visual.")}
    for quick, close in ((True, True), (False, False)):
        tower = published.tower(quick)
        tower.load_state_dict(state)
        with torch.no_grad():
            difference = (tower(expected["x"]) - expected["features"]).abs().max()
        assert bool(difference < 1e-5) is close


@pytest.mark.parametrize("T", [8, 14, 20])
def test_matrices_of_full_size_runs_are_read(shared_fixtures, T):
    from taskbasis.importers.unpickler import load

    folder = shared_fixtures / f"realsize_AE_T{T}"
    stored = load(folder / "AWB.pt").value
    expected = torch.load(folder / "AWB.pt", weights_only=True)
    for name in "AWB":
        assert torch.equal(stored[name], expected[name])
    assert stored["metadata"] == expected["metadata"]
