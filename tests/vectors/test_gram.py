import pytest
import torch

from taskbasis.errors import VectorError
from taskbasis.vectors import Gram


def random_gram(T=6, seed=0):
    V = torch.randn(40, T, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Gram(V.T @ V, tuple(f"t{i}" for i in range(T))), V


def test_spectral_bound_is_the_error_of_the_truncated_svd():
    gram, V = random_gram()
    U, S, W = torch.linalg.svd(V, full_matrices=False)
    for M in range(1, 7):
        best = (U[:, :M] * S[:M]) @ W[:M]
        torch.testing.assert_close(gram.spectral_bound(M), float((V - best).square().sum()) / 36)


def test_norms_and_cosines_describe_the_columns():
    gram, V = random_gram()
    torch.testing.assert_close(gram.norms, V.norm(dim=0))
    torch.testing.assert_close(gram.cosines[1, 4], torch.cosine_similarity(V[:, 1], V[:, 4], dim=0))


def test_a_zero_column_has_cosine_zero():
    gram = Gram(torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64)), ("a", "b"))
    assert gram.cosines.tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_save_then_load_is_the_identity(tmp_path):
    gram, _ = random_gram()
    gram.save(tmp_path / "g.safetensors")
    again = Gram.load(tmp_path / "g.safetensors")
    assert torch.equal(again.matrix, gram.matrix)
    assert (again.names, again.key) == (gram.names, gram.key)


def test_key_depends_on_values_and_names():
    gram, _ = random_gram()
    keys = {
        gram.key,
        Gram(gram.matrix * 2, gram.names).key,
        Gram(gram.matrix, gram.names[::-1]).key,
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [
        (torch.eye(2), ("a", "b"), "must be float64"),
        (torch.eye(2, dtype=torch.float64), ("a",), r"shape \(1, 1\)"),
        (torch.eye(2, dtype=torch.float64), ("a", "a"), "names repeat"),
        (torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64), ("a", "b"), "not symmetric"),
        (torch.tensor([[1.0, 0.0], [0.0, torch.nan]], dtype=torch.float64), ("a", "b"), "row of 'b'"),
    ],
)
def test_what_is_no_gram_matrix_is_refused(matrix, names, message):
    with pytest.raises(VectorError, match=message):
        Gram(matrix, names)
