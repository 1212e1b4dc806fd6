"""Golden numbers of every stage: if one changes, stored results of the old code would be taken for new ones.

A failure here means: bump the VERSION of the key that the message names, and record the new numbers.
Tolerances leave room for another machine, not for another computation.
"""

import json

import pytest
import torch
import vision_formats as formats
from safetensors.torch import load_file, save_file

from taskbasis.basis import PCA, Autoencoder, Basis, Exact, Identity, RandomOrthonormal, RandomSample
from taskbasis.basis.stages import BASIS, BasisKey, fit
from taskbasis.data.mini.suite import DrawingKey, MiniSuite, ShiftedPixels
from taskbasis.data.pixels import PIXELS, Pixels
from taskbasis.data.preprocess import Preprocess
from taskbasis.data.suite import TaskSpec
from taskbasis.data.vision import VisionSuite
from taskbasis.data.vision.scan import ScanKey
from taskbasis.data.vision.suite import PixelKey
from taskbasis.evaluation.scoring import Request, ScoreKey, Scoring, Weights
from taskbasis.importers.published import FolderSource, Found
from taskbasis.models.imported import BASIS as IMPORTED
from taskbasis.models.imported import ImportedBasisKey, ImportedKey, ImportJob, import_basis, import_model
from taskbasis.models.stages import ENCODER, HEAD, HeadKey, PretrainedKey, pretrained_and_heads
from taskbasis.models.tiny import TinyTokenizer
from taskbasis.models.tiny.pretrain import model_config
from taskbasis.models.tiny.weights import build
from taskbasis.models.tiny.weights import save as save_tiny
from taskbasis.models.tiny_clip import TinyClip
from taskbasis.parallel import workers
from taskbasis.store import Store
from taskbasis.trainer import Compute
from taskbasis.training.finetuning import FinetuneJob, FinetuneKey, finetune
from taskbasis.training.recipe import Recipe
from taskbasis.vectors import Gram, VectorSet
from taskbasis.vectors.stages import CombinedKey, GramKey

TASK = TaskSpec("demo", ("circle", "square", "red", "blue"), ("a {}.", "the {}."))


def golden(key, version, found, expected, rel=1e-3):
    bump = f"{key.__name__}: results changed; bump its VERSION and record the new numbers here"
    assert version == key.VERSION, "record the numbers of this version"
    assert found == pytest.approx(expected, rel=rel), bump


class DrawnPixels:
    """A suite of one task with seeded pixels whose labels follow the mean colour."""

    name = "demo"
    tasks = (TASK,)
    control = TASK

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(64) % 4
        noise = torch.randint(0, 90, (64, 3, 32, 32), generator=generator)
        images = (noise + 50 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
        self.data = Pixels(images, labels)

    def training_set(self, store, task):
        return ShiftedPixels(self.data, 2), "demo"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The tiny architecture with drawn weights and words of its own, which no pre-training changes."""
    texts = [template.format(name) for template in TASK.templates for name in TASK.classes]
    tokenizer = TinyTokenizer.covering(texts, context_length=8)
    config = model_config(tokenizer.vocab_size)
    config["text_cfg"]["context_length"] = 8
    model = build(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        spread = 1.0 if parameter.ndim < 2 else parameter.shape[-1] ** -0.5
        parameter.data = spread * torch.randn(parameter.shape, generator=generator)
    model.logit_scale.data.fill_(3.0)
    path = tmp_path_factory.mktemp("clip") / "seeded.safetensors"
    save_tiny(path, model, tokenizer, config, {})
    return TinyClip(weights=str(path))


@pytest.fixture(scope="module")
def made(clip, tmp_path_factory):
    """θ₀, head and a model fine-tuned for five steps, in a store."""
    store = Store(tmp_path_factory.mktemp("golden"))
    theta0, heads = pretrained_and_heads(store, clip, [TASK])
    recipe = Recipe(
        lr=1e-3, weight_decay=0.1, batch_size=16, epochs=None, max_steps=20, warmup=0.2, grad_clip=1.0
    )
    job = FinetuneJob(store, clip, DrawnPixels(), TASK, theta0, heads["demo"], recipe, 0, Compute())
    return store, theta0, heads["demo"], finetune(job, lambda event: None)


def test_pretrained(made):
    weights = load_file(made[1].file(ENCODER))
    found = float(sum(w.double().abs().sum() for w in weights.values()))
    golden(PretrainedKey, 1, found, GOLDEN["pretrained"])


def test_head(made):
    weight = load_file(made[2].file(HEAD))["weight"].double()
    golden(HeadKey, 1, [float(weight.abs().sum()), float(weight[0] @ weight[1])], GOLDEN["head"])


def test_finetuned(made):
    _, theta0, _, tuned = made
    before, after = (load_file(a.file(ENCODER)) for a in (theta0, tuned))
    norm = float(sum((after[k] - before[k]).double().square().sum() for k in before)) ** 0.5
    golden(FinetuneKey, 2, [norm, tuned.meta["last_loss"]], GOLDEN["finetuned"], rel=1e-2)


def test_scores(clip, made):
    store, _, head, tuned = made
    suite = DrawnPixels()
    pixels = store.make(DrawingKey(0, "demo", "val", 64, 0), suite.data.save)
    request = Request("scores", "", Weights.of(tuned, ENCODER), head, pixels)
    with workers(1, 1, lambda event: None) as pool:
        ((count,),) = Scoring(store, clip, 16, Compute()).scores([request], pool)
    assert count.n == 64
    assert abs(count.correct - GOLDEN["scores"]) <= 2, "ScoreKey: results changed; bump its VERSION"
    assert ScoreKey.VERSION == 2


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    generator = torch.Generator().manual_seed(0)
    base = {"w": torch.randn(50, 20, generator=generator)}
    save_file(base, folder / "base.safetensors")
    files = {}
    for t in range(4):
        files[f"t{t}"] = folder / f"t{t}.safetensors"
        save_file({"w": base["w"] + 0.1 * torch.randn(50, 20, generator=generator)}, files[f"t{t}"])
    return VectorSet.task_vectors(folder / "base.safetensors", files)


def test_gram(vectors):
    matrix = vectors.gram().matrix
    golden(GramKey, 2, [float(matrix.trace()), float(matrix[0, 1])], GOLDEN["gram"])


def test_combined(vectors):
    combined = vectors.combine(torch.tensor([1.0, -0.5, 2.0, 0.0])).tensors()["w"].double()
    golden(CombinedKey, 2, [float(combined.norm()), float(combined[0, 0])], GOLDEN["combined"])


def test_basis(tmp_path):
    V = torch.randn(100, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    gram = Gram(V.T @ V, tuple("abcdef"))
    store = Store(tmp_path)
    found = []
    for method in (Autoencoder(M=2, seed=1), Exact(M=3)):
        basis, artifact = fit(store, method, gram, 1)
        stored = json.loads(artifact.file(BASIS).read_text())
        # How an autoencoder's B and W share their product depends on the last bits of the arithmetic.
        matrix = basis.encoder if basis.method == "exact" else basis.encoder @ basis.decoder
        found += [stored["loss"], float(matrix[0, 0])]
    golden(BasisKey, 1, found, GOLDEN["basis"])


@pytest.mark.parametrize(
    "method",
    [
        PCA(M=2),
        PCA(M=2, center=False),
        RandomSample(M=2, seed=1),
        RandomOrthonormal(M=2, seed=1),
        Identity(),
        Autoencoder(M=2, seed=1, solver="adam", steps=200),
    ],
    ids=["pca", "uncentred", "random_sample", "random", "none", "adam"],
)
def test_other_bases(method, vectors, tmp_path, request):
    """The coefficients of reconstructed vectors do not depend on how B and W share their product."""
    sources = method.sources(vectors) if isinstance(method, RandomOrthonormal) else vectors
    basis, artifact = fit(Store(tmp_path), method, sources.gram(), 1)
    rebuilt = basis.reconstruction_coefficients()
    found = [
        json.loads(artifact.file(BASIS).read_text())["loss"],
        float(rebuilt.norm()),
        float(rebuilt[-1, 1]),
    ]
    golden(BasisKey, 1, found, GOLDEN[request.node.callspec.id])


@pytest.fixture
def mnist(tmp_path):
    """Forty and twenty pictures as they are distributed, without any compression that could differ."""
    formats.mnist(tmp_path / "data/mnist/MNIST/raw")
    look = Preprocess(32, (0.5,) * 3, (0.5,) * 3)
    return VisionSuite(str(tmp_path / "data"), check_sizes=False).fitted(look), Store(tmp_path / "store")


def test_scan(mnist):
    suite, store = mnist
    found = suite.scan(store, "MNIST")
    assert {name: found.identity(name)[:12] for name in found.splits} == GOLDEN["scan"], (
        "ScanKey: results changed; bump its VERSION and record the new hashes here"
    )
    assert ScanKey.VERSION == 1


def test_pixels(mnist):
    suite, store = mnist
    pixels = load_file(suite.pixels(store, "MNIST", "test").file(PIXELS))
    images = pixels["images"].double()
    found = [float(images[:, :, :16].mean()), float(images[:, :, 16:].mean()), float(images[3, 0, 9, 9])]
    assert pixels["labels"].tolist() == [i % 10 for i in range(20)]
    golden(PixelKey, 1, found, GOLDEN["pixels"])


def test_imported(clip, made, tmp_path):
    """A checkpoint of the whole model in half precision, of which the image encoder is kept."""
    _, theta0, _, tuned = made
    weights = load_file(tuned.file(ENCODER))
    (tmp_path / "models").mkdir()
    whole = {name: tensor.half() for name, tensor in weights.items()} | {"logit_scale": torch.ones(())}
    save_file(whole, tmp_path / "models/demo.safetensors")
    job = ImportJob(Store(tmp_path / "store"), clip, "demo", theta0, FolderSource(tmp_path / "models"))
    imported = load_file(import_model(job, lambda event: None).file(ENCODER))
    assert imported.keys() == weights.keys()
    assert {tensor.dtype for tensor in imported.values()} == {torch.float32}
    found = float(sum(tensor.double().abs().sum() for tensor in imported.values()))
    golden(ImportedKey, 1, found, GOLDEN["imported"])


def test_imported_basis(made, tmp_path):
    """Two atoms of three tasks, which are wanted in another order."""
    theta0 = made[1]
    layout = load_file(theta0.file(ENCODER))
    atoms = [{f"model.{name}": torch.full_like(w, value) for name, w in layout.items()} for value in (1, 2)]
    W = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    folder = tmp_path / "ae"
    folder.mkdir()
    torch.save({"basis_vectors": atoms}, folder / "basis_vectors.pt")
    torch.save({"B": torch.full((3, 2), 1 / 3), "W": W}, folder / "AWB.pt")
    info = {"method": "AutoencoderBasisMethod", "datasets": ["a", "b", "c"]}
    (folder / "method_info.json").write_text(json.dumps(info))
    artifact = import_basis(Store(tmp_path / "store"), theta0, Found(folder, "here"), ("c", "a", "b"))
    stored = artifact.path / IMPORTED
    basis = Basis.load(stored)
    gram = VectorSet.atoms(stored).gram().matrix / sum(w.numel() for w in layout.values())
    rebuilt = basis.reconstruction_coefficients()
    found = [*gram.flatten().tolist(), *rebuilt.flatten().tolist()]
    golden(ImportedBasisKey, 1, found, [1, 2, 2, 4, 0.3, 0.1, 0.2, 0.6, 0.4, 0.5])


def test_drawing(tmp_path):
    """The drawings themselves have hashes of their own; here their number and the coverage of classes."""
    suite = MiniSuite(seed=1000)
    artifact = suite.pixels(Store(tmp_path), suite.tasks[0].name, "val")
    labels = load_file(artifact.file("pixels.safetensors"))["labels"]
    assert set(labels.tolist()) == set(range(len(suite.tasks[0].classes)))
    assert DrawingKey.VERSION == 1


GOLDEN = {
    "pretrained": 47176.5553,
    "head": [535.42524, 402.71936],
    "finetuned": [3.93624, 1.18116],
    "scores": 32,
    "gram": [38.28884, -0.2201305],
    "combined": [6.856516, -0.2758686],
    "basis": [10.594383, 0.2785689, 7.337738, 0.0936213],
    "pca": [0.551315410, 1.73205081, -0.221010128],
    "uncentred": [1.11317335, 1.41421356, -0.238085420],
    "random_sample": [1.18930086, 1.41807894, 0.0],
    "random": [2.38909730, 0.00792922841, 0.00328649423],
    "none": [0.0, 2.0, 0.0],
    "adam": [1.23934131, 1.21532275, 0.0666583412],
    "scan": {"train": "56a5e9c86706", "val": "73c0b824757c", "test": "e18d9e92cee0"},
    "pixels": [58.702246, 116.99834, 48.0],
    "imported": 47211.583,
}
