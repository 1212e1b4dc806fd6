"""Exact, PCA, random sample and random bases, and what all methods have in common."""

import json
import logging
import random
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from taskbasis.basis import PCA, Autoencoder, Exact, Identity, RandomOrthonormal, RandomSample, fit_all
from taskbasis.basis.closed_form import closed_form, complement, simplex
from taskbasis.basis.linear_algebra import best_decoder, leading_eigenvectors
from taskbasis.errors import BasisError, VectorError
from taskbasis.vectors import Gram, VectorSet

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from grams import cases, factor_vectors, gram_of, named

CASES = cases()
FIXTURES = Path(__file__).parent.parent / "fixtures"


def excess(basis, gram):
    """How far above the bound a basis is, relative, after the absolute slack of rounding."""
    d = basis.diagnostics
    slack = 1e-12 * float(gram.matrix.trace()) / len(gram.names) ** 2
    return max(d.loss - d.spectral_bound - slack, 0.0) / max(d.spectral_bound, 1e-300)


def random_gram(seed):
    """A Gram matrix as fine-tuned models have them, with random size and spread; and an M."""
    generator = random.Random(seed)
    T = generator.randint(2, 20)
    V = factor_vectors(T, seed, shared=generator.uniform(0.3, 1.0))
    return gram_of(10 ** generator.uniform(-3, 3) * V), generator.randint(1, T)


def read(vectors, tensor, start, stop):
    """Elements of one tensor for all columns."""
    out = torch.empty(len(vectors), stop - start)
    vectors.columns.read(tensor, start, out)
    return out


class TestBound:
    @pytest.mark.parametrize("method", [Exact, Autoencoder])
    def test_published_grams(self, published_grams, method):
        tolerance = 1e-10 if method is Exact else 1e-5
        for gram in published_grams.values():
            for M in range(1, len(gram.names) + 1):
                assert excess(method(M=M).fit(gram), gram) <= tolerance

    @pytest.mark.parametrize(("method", "tolerance"), [(Exact, 1e-10), (Autoencoder, 1e-5)])
    def test_two_hundred_random_grams(self, method, tolerance):
        for seed in range(200):
            gram, M = random_gram(seed)
            if closed_form(gram.matrix, M) is not None:
                assert excess(method(M=M).fit(gram), gram) <= tolerance, seed

    @pytest.mark.parametrize(("name", "gram", "M"), CASES[::4], ids=[case[0] for case in CASES[::4]])
    def test_never_worse_than_the_papers_adam(self, name, gram, M):
        adam = Autoencoder(M=M, solver="adam").fit(gram).diagnostics.loss
        slack = 1e-12 * float(gram.matrix.trace()) / len(gram.names) ** 2
        for method in (Exact(M=M), Autoencoder(M=M)):
            assert method.fit(gram).diagnostics.loss <= adam + slack

    def test_the_list_is_forty_grams_of_all_kinds(self):
        assert len(CASES) == 40
        assert {M for _, gram, M in CASES if len(gram.names) == M}
        assert any((gram.matrix.diagonal() == 0).any() for _, gram, _ in CASES)
        assert any((gram.matrix < -1).any() for _, gram, _ in CASES)


class TestAdam:
    def test_reproduces_the_published_encoders_and_losses(self, published_grams):
        for entry in json.loads((FIXTURES / "adam_reference.json").read_text()):
            basis = Autoencoder(M=entry["M"], seed=entry["seed"], solver="adam").fit(
                published_grams[entry["gram"]]
            )
            published = torch.tensor(entry["B_6000"], dtype=torch.float64)
            torch.testing.assert_close(basis.encoder, published, rtol=0, atol=1e-4)
            assert basis.diagnostics.loss == pytest.approx(entry["loss_6000"], rel=1e-6)
            assert basis.diagnostics.condition == pytest.approx(entry["condition_6000"], rel=1e-2)

    def test_all_reproduced_where_the_published_files_are_at_hand(self, published_grams):
        folder = Path(__file__).parents[2].parent / "shared" / "fixtures"
        if not (folder / "ae_losses.json").is_file():
            pytest.skip("the full set of published losses is not beside this checkout")
        entries = json.loads((folder / "ae_losses.json").read_text())
        for entry in [e for e in entries if e["gram"] in published_grams and "loss_4000" in e][::9]:
            method = Autoencoder(M=entry["M"], seed=entry["seed"], solver="adam", steps=4000)
            loss = method.fit(published_grams[entry["gram"]]).diagnostics.loss
            assert loss == pytest.approx(entry["loss_4000"], rel=1e-6)

    @pytest.mark.parametrize(
        "options", [{"grad_clip": 0.1}, {"batch_cols": 4}, {"anneal_every": 100}, {"encoder": "linear"}]
    )
    def test_options_change_the_path_and_still_learn(self, published_grams, options):
        gram = published_grams["vitb32_T8"]
        plain = Autoencoder(M=4, solver="adam", steps=600).fit(gram)
        other = Autoencoder(M=4, solver="adam", steps=600, **options).fit(gram)
        assert not torch.equal(plain.encoder, other.encoder)
        assert other.diagnostics.loss < 2 * other.diagnostics.spectral_bound

    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_a_softmax_decoder_gives_convex_reconstructions(self, published_grams, solver):
        gram = published_grams["vitb32_T8"]
        basis = Autoencoder(M=4, solver=solver, decoder="softmax", steps=1000).fit(gram)
        assert (basis.decoder >= 0).all()
        torch.testing.assert_close(
            basis.decoder.sum(dim=0), torch.ones(8, dtype=torch.float64), rtol=0, atol=1e-5
        )
        assert basis.diagnostics.loss > basis.diagnostics.spectral_bound
        assert basis.history[-1] < basis.history[0]


class TestExact:
    def test_row_sums_are_proportional_to_the_projection_of_ones(self, published_grams):
        for gram in published_grams.values():
            for M in (2, len(gram.names) // 2):
                _, U = leading_eigenvectors(gram.matrix, M)
                p = U @ U.sum(dim=0)
                basis = Exact(M=M).fit(gram)
                torch.testing.assert_close(basis.addition_coefficients(), M * p / p.sum())

    def test_atoms_are_well_apart(self, published_grams):
        reference = json.loads((FIXTURES / "adam_reference.json").read_text())
        for entry in reference:
            basis = Exact(M=entry["M"]).fit(published_grams[entry["gram"]])
            assert basis.diagnostics.condition <= 10 * entry["condition_6000"]

    def test_columns_are_convex_combinations(self):
        for name, gram, M in CASES:
            basis = Exact(M=M).fit(gram)
            assert (basis.encoder >= 0).all(), name
            torch.testing.assert_close(basis.encoder.sum(dim=0), torch.ones(M, dtype=torch.float64))

    @pytest.mark.parametrize("support", ["diagonal", "zero task", "blocks"])
    def test_works_on_the_support_where_the_projection_is_not_positive(self, support):
        if support == "diagonal":
            gram, M = named(torch.diag(torch.arange(1.0, 9.0, dtype=torch.float64))), 3
        elif support == "zero task":
            V = factor_vectors(8, seed=1)
            V[:, 5] = 0
            gram, M = gram_of(V), 4
        else:
            V = factor_vectors(8, seed=2)
            G = V.T @ V
            G[:4, 4:] = G[4:, :4] = 0
            gram, M = named(G), 2
        basis = Exact(M=M).fit(gram)
        assert excess(basis, gram) <= 1e-10
        if support == "diagonal":
            assert (basis.encoder[:5] == 0).all()

    def test_a_bound_that_cannot_be_reached_is_said_with_its_gap(self, caplog):
        gram = named(1.05 * torch.eye(8, dtype=torch.float64) - 0.12)
        with caplog.at_level(logging.WARNING, logger="taskbasis"):
            basis = Exact(M=4).fit(gram)
        assert "no convex basis with M=4 is known to reach the spectral bound" in caplog.text
        assert not basis.diagnostics.attainable
        assert basis.method == "exact"

    def test_a_subspace_that_is_not_determined_is_said(self, caplog):
        with caplog.at_level(logging.WARNING, logger="taskbasis"):
            Exact(M=3).fit(named(torch.eye(8, dtype=torch.float64)))
        assert "is not determined" in caplog.text

    @pytest.mark.parametrize("M", [2, 3, 6])
    def test_simplex_and_complement(self, M):
        C = simplex(M)
        torch.testing.assert_close(C.sum(dim=1), torch.zeros(M - 1, dtype=torch.float64), rtol=0, atol=1e-12)
        products = C.T @ C
        expected = torch.full((M, M), -1 / (M - 1), dtype=torch.float64).fill_diagonal_(1.0)
        torch.testing.assert_close(products, expected)
        a = torch.randn(M, dtype=torch.float64, generator=torch.Generator().manual_seed(M))
        Q = complement(a)
        torch.testing.assert_close(Q.T @ Q, torch.eye(M - 1, dtype=torch.float64))
        torch.testing.assert_close(a @ Q, torch.zeros(M - 1, dtype=torch.float64), rtol=0, atol=1e-12)


class TestPCA:
    @settings(max_examples=20, deadline=None)
    @given(T=st.integers(2, 10), seed=st.integers(0, 999), center=st.booleans(), data=st.data())
    def test_equals_the_dense_singular_value_decomposition(self, T, seed, center, data):
        V = factor_vectors(T, seed)
        M = data.draw(st.integers(1, T - center))
        basis = PCA(M=M, center=center).fit(gram_of(V))
        mean = V.mean(dim=1, keepdim=True) * center
        U, S, Wt = torch.linalg.svd(V - mean, full_matrices=False)
        dense = (U[:, :M] * S[:M]) @ Wt[:M] + mean
        scale = float(V.norm())
        torch.testing.assert_close(V @ basis.reconstruction_coefficients(), dense, rtol=0, atol=1e-10 * scale)
        atoms = V @ basis.encoder
        torch.testing.assert_close(atoms.norm(dim=0), S[:M], rtol=1e-9, atol=1e-9 * scale)

    def test_with_reconstructed_inputs_it_is_task_arithmetic(self):
        gram = gram_of(factor_vectors(8, seed=0))
        for M in (1, 4, 7):
            merged = PCA(M=M).fit(gram).reconstruction_coefficients().sum(dim=1)
            torch.testing.assert_close(merged, torch.ones(8, dtype=torch.float64))

    def test_components_hold_nothing_of_the_mean_and_it_is_stored_beside_them(self):
        basis = PCA(M=3).fit(gram_of(factor_vectors(8, seed=0)))
        torch.testing.assert_close(
            basis.encoder.sum(dim=0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12
        )
        assert basis.stored_vectors == 4
        assert PCA(M=3, center=False).fit(gram_of(factor_vectors(8, seed=0))).stored_vectors == 3

    def test_the_largest_coefficient_is_positive_and_the_first_on_ties(self):
        basis = PCA(M=5).fit(gram_of(factor_vectors(8, seed=3)))
        for column in basis.decoder:
            assert column[column.abs().argmax()] > 0
        two = PCA(M=1).fit(gram_of(factor_vectors(2, seed=0)))
        assert two.decoder[0, 0] > 0 > two.decoder[0, 1]

    def test_reaches_the_bound_of_its_kind(self):
        for center in (True, False):
            d = PCA(M=4, center=center).fit(gram_of(factor_vectors(8, seed=0))).diagnostics
            assert d.loss == pytest.approx(d.spectral_bound, rel=1e-10)
            assert d.attainable


class TestRandomSample:
    @pytest.mark.parametrize(("seed", "expected"), [(0, [0, 6]), (1, [1, 2]), (2, [0, 1])])
    def test_published_selections_reproduce(self, seed, expected):
        basis = RandomSample(M=2, seed=seed).fit(gram_of(factor_vectors(8, seed=0)))
        drawn = sorted(random.Random(seed).sample(range(8), 2))
        assert basis.encoder.argmax(dim=0).tolist() == drawn
        assert set(basis.encoder.unique().tolist()) == {0.0, 1.0}

    def test_kept_tasks_are_reconstructed_exactly_and_others_as_well_as_can_be(self):
        V = factor_vectors(8, seed=0)
        basis = RandomSample(M=3, seed=1).fit(gram_of(V))
        kept = basis.encoder.argmax(dim=0)
        rebuilt = V @ basis.reconstruction_coefficients()
        torch.testing.assert_close(rebuilt[:, kept], V[:, kept], rtol=1e-9, atol=1e-9)
        best = V[:, kept] @ torch.linalg.lstsq(V[:, kept], V).solution
        torch.testing.assert_close(rebuilt, best, rtol=1e-7, atol=1e-9)


@pytest.fixture
def task_vectors(tmp_path):
    generator = torch.Generator().manual_seed(0)
    base = {"a": torch.randn(300, 401, generator=generator), "b": torch.randn(77, generator=generator)}
    save_file(base, tmp_path / "base.safetensors")
    files = {}
    for t in range(4):
        tuned = {k: v + 0.01 * torch.randn(v.shape, generator=generator) for k, v in base.items()}
        files[f"task{t}"] = tmp_path / f"task{t}.safetensors"
        save_file(tuned, files[f"task{t}"])
    return VectorSet.task_vectors(tmp_path / "base.safetensors", files)


class TestRandom:
    def test_atoms_are_orthonormal_and_the_decoder_projects(self, task_vectors):
        method = RandomOrthonormal(M=3, seed=5)
        sources = method.sources(task_vectors)
        basis = method.fit(sources.gram())
        atoms = sources.combine(basis.encoder).gram().matrix
        torch.testing.assert_close(atoms, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-5)
        assert basis.tasks == task_vectors.names
        assert basis.sources == (*task_vectors.names, "noise-5-0", "noise-5-1", "noise-5-2")
        assert basis.diagnostics.relative_error == pytest.approx(1.0, abs=1e-3)
        torch.testing.assert_close(
            basis.decoder, best_decoder_of(basis, sources.gram()), rtol=1e-6, atol=1e-8
        )

    def test_a_smaller_basis_is_a_prefix(self, task_vectors):
        large, small = RandomOrthonormal(M=4, seed=1), RandomOrthonormal(M=2, seed=1)
        A = large.fit(large.sources(task_vectors).gram())
        B = small.fit(small.sources(task_vectors).gram())
        torch.testing.assert_close(A.encoder[:6, :2], B.encoder, rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(A.decoder[:2], B.decoder, rtol=1e-4, atol=1e-6)

    def test_noise_is_a_function_of_seed_column_and_position_alone(self, task_vectors):
        noise = VectorSet.noise(task_vectors.layout, 2, seed=3)
        whole = read(noise, "a", 0, 300 * 401)
        parts = [read(noise, "a", i, min(i + 9999, 300 * 401)) for i in range(0, 300 * 401, 9999)]
        assert torch.equal(torch.cat(parts, dim=1), whole)
        assert torch.equal(
            read(VectorSet.noise(task_vectors.layout, 5, seed=3), "a", 7, 90)[:2], whole[:, 7:90]
        )
        assert not torch.equal(
            read(VectorSet.noise(task_vectors.layout, 2, seed=4), "a", 0, 50), whole[:, :50]
        )
        assert abs(float(whole.mean())) < 0.01
        assert float(whole.std()) == pytest.approx(1.0, abs=0.01)

    def test_the_first_numbers_are_what_they_always_were(self, task_vectors):
        """Bump nothing silently: stored bases are drawn again from this stream."""
        first = read(VectorSet.noise(task_vectors.layout, 1, seed=0), "a", 0, 3)[0]
        torch.testing.assert_close(first, torch.tensor(FIRST_NOISE), rtol=0, atol=1e-6)

    def test_a_gram_matrix_without_the_noise_is_refused(self, task_vectors):
        with pytest.raises(BasisError, match=r"needs the Gram matrix of its sources"):
            RandomOrthonormal(M=2).fit(task_vectors.gram())

    def test_a_negative_seed_is_refused(self, task_vectors):
        with pytest.raises(VectorError, match="seed=-1"):
            RandomOrthonormal(M=2, seed=-1).sources(task_vectors)


FIRST_NOISE = [0.059911035, 0.015559634, -1.164438486]


def best_decoder_of(basis, gram):
    atoms = basis.encoder.T @ gram.matrix @ basis.encoder
    return torch.linalg.solve(atoms, basis.encoder.T @ gram.matrix[:, : len(basis.tasks)])


METHODS = [Autoencoder(M=3), Exact(M=3), PCA(M=3), PCA(M=3, center=False), RandomSample(M=3)]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_the_decoder_is_the_best_one(method):
    gram = gram_of(factor_vectors(8, seed=0))
    basis = method.fit(gram)
    R = torch.linalg.cholesky(gram.matrix).T
    target = torch.eye(8, dtype=torch.float64)
    if basis.offset is not None:
        target = target - basis.offset[:, None]
    best = torch.linalg.lstsq(R @ basis.encoder, R @ target).solution
    torch.testing.assert_close(basis.decoder, best, rtol=1e-5, atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_reconstruction_does_not_depend_on_the_gauge(seed):
    """Mixing the atoms changes their sum, never what is reconstructed from them."""
    gram = gram_of(factor_vectors(8, seed=1))
    basis = Exact(M=3).fit(gram)
    mixing = torch.rand(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    mixing = mixing / mixing.sum(dim=0) + torch.eye(3, dtype=torch.float64)
    mixed = basis.encoder @ mixing
    again = mixed @ best_decoder(gram.matrix, mixed)
    torch.testing.assert_close(again, basis.reconstruction_coefficients(), rtol=1e-6, atol=1e-8)


def test_storing_exact_atoms_in_two_bytes_costs_little(tmp_path):
    """The atoms rounded to bfloat16, with the decoder as it is: at most 1e-3 above the bound."""
    generator = torch.Generator().manual_seed(0)
    V = 0.02 * (
        0.5 * torch.randn(20000, 1, generator=generator) + torch.randn(20000, 14, generator=generator)
    )
    gram = gram_of(V.double())
    basis = Exact(M=7).fit(gram)
    atoms = (V.double() @ basis.encoder).to(torch.bfloat16).double()
    loss = float((atoms @ basis.decoder - V.double()).square().sum()) / 14**2
    assert loss <= basis.diagnostics.spectral_bound * (1 + 1e-3)


@pytest.mark.parametrize("method", [Autoencoder, Exact, PCA, RandomSample])
@pytest.mark.parametrize("M", [0, -2, 9])
def test_an_impossible_number_of_atoms_is_refused(method, M):
    with pytest.raises(BasisError, match=rf"M={M} is not possible for 8 tasks"):
        method(M=M).fit(gram_of(factor_vectors(8, seed=0)))


def test_centred_pca_refuses_as_many_components_as_tasks():
    with pytest.raises(
        BasisError, match=r"M=8 is not possible for 8 tasks with a centred PCA; accepted: 1 ≤ M ≤ 7"
    ):
        PCA(M=8).fit(gram_of(factor_vectors(8, seed=0)))


@pytest.mark.parametrize("tasks", [["t0"], ["t1", "t0"], ["t0", "t1", "t2"], ["a", "b"]])
def test_a_basis_of_other_tasks_is_refused_with_the_first_difference(tasks):
    basis = Identity().fit(gram_of(factor_vectors(2, seed=0)))
    basis.require_tasks(["t0", "t1"])
    with pytest.raises(BasisError, match=r"of the tasks \['t0', 't1'\].*first differ at"):
        basis.require_tasks(tasks)


def test_fit_all_fits_every_method_in_order():
    gram = gram_of(factor_vectors(8, seed=0))
    methods = [Identity(), *METHODS]
    fitted = fit_all(gram, methods)
    assert [b.method for b in fitted] == ["none", "ae", "exact", "pca", "pca", "random_sample"]
    assert all(torch.equal(a.encoder, m.fit(gram).encoder) for a, m in zip(fitted, methods, strict=True))


def test_a_gram_matrix_that_is_not_finite_cannot_exist():
    with pytest.raises(VectorError, match="not finite"):
        Gram(torch.full((2, 2), torch.nan, dtype=torch.float64), ("a", "b"))
