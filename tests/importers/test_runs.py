"""Damaged basis folders of the published code: each ends in one message that names the file and the key."""

import json

import pytest
import torch

from taskbasis.errors import ImporterError
from taskbasis.importers import import_run

SHAPES = {"model.a": (2, 3), "model.b": (4,)}
COMPONENTS = {
    "coefficients": torch.tensor([[0.6, -0.4, 0.8]]),
    "mean_vector": torch.arange(10.0),
    "keys_order": list(SHAPES),
    "param_shapes": SHAPES,
}
METHODS = {"PCA": "pca_components.pt", "Random": "random_basis.pt"}


@pytest.fixture
def run_folder(tmp_path):
    """Writes the basis of one vector of three tasks, some of its content replaced."""

    def write(method="PCA", info=None, **stored):
        described = {"method": f"{method}BasisMethod", "datasets": ["Cars", "DTD", "SVHN"]} | (info or {})
        (tmp_path / "method_info.json").write_text(json.dumps(described))
        vectors = [{name: torch.ones(shape) for name, shape in SHAPES.items()}]
        torch.save({"basis_vectors": stored.pop("basis_vectors", vectors)}, tmp_path / "basis_vectors.pt")
        projection = {"projection_coefficients": COMPONENTS["coefficients"], "seed": 0}
        content = COMPONENTS if method == "PCA" else projection
        kept = {k: v for k, v in (content | stored).items() if v is not None}
        torch.save(kept, tmp_path / METHODS[method])
        return tmp_path

    return write


@pytest.mark.parametrize("method", METHODS)
def test_an_intact_run_is_read(run_folder, method):
    found = import_run(run_folder(method))
    assert found.basis.tasks == ("Cars", "DTD", "SVHN")
    assert found.vectors.layout == {"a": torch.Size([2, 3]), "b": torch.Size([4])}


@pytest.mark.parametrize("tasks", [None, "Cars", 3, [], ["Cars", 3, "SVHN"]])
def test_tasks_that_are_no_list_of_names(run_folder, tasks):
    folder = run_folder(info={"datasets": tasks})
    with pytest.raises(ImporterError, match=r"method_info\.json has no 'datasets', a list of the names"):
        import_run(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"keys_order": None}, "has no 'keys_order', a list of the names of tensors"),
        ({"keys_order": 7}, "has no 'keys_order'"),
        ({"keys_order": ["model.a", ["model.b"]]}, "has no 'keys_order'"),
        ({"param_shapes": None}, "has no 'param_shapes', a dict"),
        ({"param_shapes": [(2, 3), (4,)]}, "has no 'param_shapes'"),
        ({"param_shapes": {"model.a": (2, 3)}}, r"'param_shapes' has no shape of 'model\.b'"),
        ({"param_shapes": SHAPES | {"model.b": 4}}, r"'param_shapes' has no shape of 'model\.b'"),
        ({"param_shapes": SHAPES | {"model.b": (-2, -2)}}, r"'param_shapes' has no shape of 'model\.b'"),
        ({"param_shapes": SHAPES | {"model.b": (1 << 80,)}}, "the mean has 10 elements, its tensors have"),
    ],
)
def test_a_mean_whose_tensors_are_not_described(run_folder, damage, message):
    with pytest.raises(ImporterError, match=rf"pca_components\.pt:? ?{message}"):
        import_run(run_folder(**damage))


def test_vectors_whose_tensors_have_no_names(run_folder):
    folder = run_folder(basis_vectors=[{0: torch.ones(2, 3), 1: torch.ones(4)}])
    with pytest.raises(ImporterError, match=r"basis_vectors\.pt: a basis vector is not a mapping from names"):
        import_run(folder)


def test_a_seed_that_is_no_number(run_folder):
    with pytest.raises(ImporterError, match=r"random_basis\.pt: 'seed' is a Tensor, not a number"):
        import_run(run_folder("Random", seed=torch.tensor(3)))


@pytest.mark.parametrize("chosen", [3, [True], ["Cars"], [3]])
def test_a_selection_of_no_tasks(run_folder, chosen):
    folder = run_folder(info={"method": "RandomSampleMethod"})
    (folder / "random_selection.json").write_text(json.dumps({"selected_indices": chosen}))
    with pytest.raises(ImporterError, match=r"random_selection\.json: selected_indices="):
        import_run(folder)


def test_a_description_nested_beyond_reading(run_folder):
    folder = run_folder()
    (folder / "method_info.json").write_text("[" * 200_000)
    with pytest.raises(ImporterError, match=r"method_info\.json cannot be read"):
        import_run(folder)
