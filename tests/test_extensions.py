"""Methods of users: their code counts as much as their settings."""

import importlib
import sys

import pytest

from taskbasis.basis import Exact
from taskbasis.builders import build_plan
from taskbasis.config import compose
from taskbasis.extensions import source_sha256
from taskbasis.finished import code_identity

METHODS = """
from dataclasses import dataclass

import torch

from taskbasis.basis import Basis
from taskbasis.merging import Sum


@dataclass(frozen=True, kw_only=True)
class Own:
    M: int
    seed: int = 0

    def fit(self, gram):
        encoder = {scale} * torch.eye(len(gram.names), dtype=torch.float64)[:, : self.M]
        return Basis.fitted("own", self, gram, encoder, encoder.T)


@dataclass(frozen=True)
class OwnMerge(Sum):
    pass
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the user's module, as if Python had just been started."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def go(scale):
        (tmp_path / "own_methods.py").write_text(METHODS.format(scale=scale))
        sys.modules.pop("own_methods", None)
        importlib.invalidate_caches()

    yield go
    sys.modules.pop("own_methods", None)


def test_an_edited_method_is_fitted_again_and_its_run_not_skipped(write, run_small, tmp_path):
    found = []
    for scale in ("1.0", "0.5", "1.0"):
        write(scale)
        options = ("basis=random_sample", "basis._target_=own_methods.Own", "M=1")
        found.append(run_small(*options, runs=tmp_path / "runs"))
    first, edited, back = found
    assert first["basis"]["loss"] != edited["basis"]["loss"]
    assert not edited["run"]["reused"]["basis"]
    assert back["basis"] == first["basis"]
    assert back["run"]["reused"]["basis"]


@pytest.mark.parametrize("own", ["basis._target_=own_methods.Own", "merge._target_=own_methods.OwnMerge"])
def test_results_belong_to_the_code_of_added_classes(write, tmp_path, own):
    def identity():
        return code_identity(
            build_plan(compose(["basis=random_sample", own, f"paths.root={tmp_path / 'out'}"]))
        )

    write("1.0")
    before = identity()
    assert identity() == before
    write("0.5")
    assert identity() != before


def test_only_files_of_others_are_looked_at(write):
    write("1.0")
    assert source_sha256(Exact) is None
    assert source_sha256(type("Typed", (), {"__module__": "typed_in"})) is None
    assert len(source_sha256(importlib.import_module("own_methods").Own)) == 64


def test_results_belong_to_the_files_of_a_published_basis(tmp_path):
    folder = tmp_path / "bases"
    folder.mkdir()
    (folder / "basis_vectors.pt").write_bytes(b"one")
    settings = ["checkpoints=published_bases", f"checkpoints.root={folder}", f"paths.root={tmp_path / 'out'}"]
    before = code_identity(build_plan(compose(settings)))
    assert code_identity(build_plan(compose(settings))) == before
    (folder / "basis_vectors.pt").write_bytes(b"another")
    assert code_identity(build_plan(compose(settings))) != before
