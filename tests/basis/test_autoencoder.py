import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taskbasis.basis import Autoencoder, Basis, Identity, Trained
from taskbasis.basis.autoencoder import lbfgs, method
from taskbasis.errors import BasisError
from taskbasis.trainer import quiet_trainer
from taskbasis.vectors import Gram


def factor_gram(T, seed, scale=1.0):
    """Task vectors with a shared part and individual parts, as fine-tuned models have."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(300, 1, dtype=torch.float64, generator=generator)
    own = torch.randn(300, T, dtype=torch.float64, generator=generator)
    size = 0.5 + torch.rand(T, dtype=torch.float64, generator=generator)
    V = scale * (0.5 * shared + own) * size
    return Gram(V.T @ V, tuple(f"t{i}" for i in range(T))), V


@settings(max_examples=25, deadline=None)
@given(T=st.integers(2, 12), seed=st.integers(0, 10_000), data=st.data())
def test_loss_from_the_gram_matrix_is_the_mean_squared_error_in_weight_space(T, seed, data):
    gram, V = factor_gram(T, seed)
    basis = Autoencoder(M=data.draw(st.integers(1, T)), seed=seed).fit(gram)
    error = (V @ basis.encoder @ basis.decoder - V).square().sum() / T**2
    torch.testing.assert_close(
        basis.diagnostics.loss, float(error), rtol=1e-6, atol=1e-9 * float(V.square().sum())
    )


@settings(max_examples=25, deadline=None)
@given(T=st.integers(2, 14), seed=st.integers(0, 10_000), data=st.data())
def test_fit_reaches_the_spectral_bound_with_convex_atoms(T, seed, data):
    gram, V = factor_gram(T, seed)
    M = data.draw(st.integers(1, T))
    basis = Autoencoder(M=M, seed=seed).fit(gram)
    d = basis.diagnostics
    assert d.loss <= d.spectral_bound * (1 + 1e-5) + 1e-12 * float(V.square().sum()) / T**2
    assert d.attainable
    assert (basis.encoder > 0).all()
    torch.testing.assert_close(basis.encoder.sum(dim=0), torch.ones(M, dtype=torch.float64))


@pytest.mark.parametrize("T", [8, 14, 20])
def test_fit_goes_from_well_above_the_bound_down_to_it(T):
    gram, _ = factor_gram(T, seed=T)
    basis = Autoencoder(M=T // 2, seed=0).fit(gram)
    bound = basis.diagnostics.spectral_bound
    assert basis.history[0] >= 1.2 * bound
    assert basis.history[-1] <= 1.001 * bound
    assert basis.history[-1] == pytest.approx(basis.diagnostics.loss, rel=1e-6)


def test_a_broken_optimiser_does_not_reach_the_bound(monkeypatch):
    def lazy(self, start):
        return start, [self.objective(start)[0]]

    monkeypatch.setattr(lbfgs.Search, "descend", lazy)
    monkeypatch.setattr(method, "closed_form", lambda *_: None)
    gram, _ = factor_gram(14, seed=0)
    basis = Autoencoder(M=7).fit(gram)
    assert basis.diagnostics.loss > 1.1 * basis.diagnostics.spectral_bound
    assert not basis.diagnostics.attainable


@pytest.mark.parametrize("settings", [{}, {"restarts": 0}, {"solver": "adam", "steps": 250}])
def test_lightning_trains_the_very_basis_that_a_plain_fit_makes(settings):
    gram, _ = factor_gram(9, seed=4)
    method = Autoencoder(M=4, seed=1, **settings)
    assert isinstance(method, Trained)
    trained, fitted = method.fit_with(gram, quiet_trainer(max_epochs=1)), method.fit(gram)
    assert trained.to_json() == fitted.to_json()


def test_lightning_goes_on_from_start_to_start_while_none_reaches_the_bound(monkeypatch):
    begun = []

    def lazy(self, start):
        begun.append(start)
        return start, [self.objective(start)[0]]

    monkeypatch.setattr(lbfgs.Search, "descend", lazy)
    monkeypatch.setattr(method, "closed_form", lambda *_: None)
    gram, _ = factor_gram(8, seed=0)
    autoencoder = Autoencoder(M=4, restarts=5)
    trained = autoencoder.fit_with(gram, quiet_trainer(max_epochs=1))
    assert len(begun) == 6
    assert trained.to_json() == autoencoder.fit(gram).to_json()
    assert len(begun) == 12


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1e2, 1e4])
def test_fit_does_not_depend_on_the_norms(scale):
    gram, _ = factor_gram(8, seed=3)
    scaled, _ = factor_gram(8, seed=3, scale=scale)
    a, b = Autoencoder(M=4).fit(gram), Autoencoder(M=4).fit(scaled)
    torch.testing.assert_close(a.encoder, b.encoder, rtol=1e-4, atol=1e-6)
    assert b.diagnostics.loss <= b.diagnostics.spectral_bound * (1 + 1e-5)


def test_equal_seeds_give_equal_bases_and_global_randomness_is_left_alone():
    gram, _ = factor_gram(8, seed=1)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    a = Autoencoder(M=4, seed=2).fit(gram)
    assert torch.equal(torch.rand(1), expected)
    b = Autoencoder(M=4, seed=2).fit(gram)
    assert torch.equal(a.encoder, b.encoder)
    assert torch.equal(a.decoder, b.decoder)
    assert not torch.equal(a.encoder, Autoencoder(M=4, seed=3).fit(gram).encoder)


@pytest.mark.parametrize("case", ["duplicate", "zero task", "all zero", "one task"])
def test_degenerate_task_vectors_are_handled(case):
    gram, V = factor_gram(6, seed=0)
    if case == "duplicate":
        V[:, 3] = V[:, 0]
    elif case == "zero task":
        V[:, 2] = 0
    elif case == "all zero":
        V[:] = 0
    else:
        V = V[:, :1]
    T = V.shape[1]
    basis = Autoencoder(M=min(3, T)).fit(Gram(V.T @ V, gram.names[:T]))
    assert torch.isfinite(basis.decoder).all()
    d = basis.diagnostics
    assert d.loss <= d.spectral_bound * (1 + 1e-5) + 1e-12 * float(V.square().sum()) / T**2


@pytest.mark.parametrize("M", [0, -1, 7])
def test_an_impossible_number_of_atoms_is_refused(M):
    gram, _ = factor_gram(6, seed=0)
    with pytest.raises(BasisError, match=rf"M={M} is not possible for 6 tasks; accepted: 1 ≤ M ≤ 6"):
        Autoencoder(M=M).fit(gram)


@pytest.mark.parametrize("bad", [{"tau": 0.0}, {"iterations": 0}, {"restarts": -1}, {"tolerance": 0.0}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(BasisError, match=next(iter(bad))):
        Autoencoder(M=2, **bad)


def test_identity_is_task_arithmetic():
    gram, _ = factor_gram(5, seed=0)
    basis = Identity().fit(gram)
    assert basis.addition_coefficients().tolist() == [1.0] * 5
    assert torch.equal(basis.reconstruction_coefficients(), torch.eye(5, dtype=torch.float64))
    assert (basis.diagnostics.loss, basis.diagnostics.attainable, basis.M) == (0.0, True, 5)


def test_json_round_trip_is_exact():
    import json

    gram, _ = factor_gram(8, seed=0)
    basis = Autoencoder(M=3).fit(gram)
    again = Basis.from_json(json.loads(json.dumps(basis.to_json())))
    assert torch.equal(again.encoder, basis.encoder)
    assert torch.equal(again.decoder, basis.decoder)
    assert again.diagnostics == basis.diagnostics
    assert again.to_json() == json.loads(json.dumps(basis.to_json()))


def test_stored_bytes_count_atoms_and_matrices():
    gram, _ = factor_gram(8, seed=0)
    basis = Autoencoder(M=3).fit(gram)
    assert basis.stored_bytes(1000) == 3 * 1000 * 4 + 8 * (8 * 3 + 3 * 8)
    assert basis.stored_bytes(1000, itemsize=2) == 3 * 1000 * 2 + 8 * 48
