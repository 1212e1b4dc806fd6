import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from taskbasis.convert import main as convert
from taskbasis.errors import ConfigError, ImporterError, TaskbasisError
from taskbasis.show import main as show
from taskbasis.vectors import VectorSet


@pytest.fixture
def shown(capsys, monkeypatch):
    """What ``taskbasis.show`` prints, on one line."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments):
        capsys.readouterr()
        assert show([str(a) for a in arguments]) == 0
        return " ".join(capsys.readouterr().out.split())

    return run


class TestShow:
    def test_a_checkpoint(self, models, shown):
        text = shown("theta0.safetensors")
        for part in ("visual.w", "float32", "12×7", "int64", "4 tensors (1 int64, 3 float32), 119 elements"):
            assert part in text
        assert "… and 3 more" in shown("theta0.safetensors", "--rows", "1")

    def test_a_basis(self, basis_folder, shown):
        text = shown(basis_folder)
        for part in (
            "basis ae, M = 2 of T = 4",
            "spectral bound",
            "relative error",
            "cosines",
            "cars",
            "1.00",
        ):
            assert part in text
        assert "../../theta0.safetensors" in text

    def test_a_gram_matrix(self, models, shown):
        files = {name: f"tuned/{name}.safetensors" for name in ("cars", "dtd")}
        gram = VectorSet.task_vectors("theta0.safetensors", files).gram()
        gram.save(Path("gram.safetensors"))
        assert f"{float(gram.cosines[0, 1]):.2f}" in shown("gram.safetensors")

    def test_a_pickle(self, models, shown):
        torch.save({"model.visual.w": torch.ones(2, 3)}, "tuned.pt")
        text = shown("tuned.pt")
        assert "state dict" in text
        assert "visual.w" in text
        assert "2×3" in text

    def test_a_checkpoint_without_tensors(self, tmp_path, shown):
        save_file({}, tmp_path / "none.safetensors")
        assert "0 tensors" in shown(tmp_path / "none.safetensors")

    def test_names_and_values_that_look_like_markup(self, tmp_path, shown):
        tensors = {"a[/x]": torch.ones(2), "[bold]b": torch.ones(2), "c:bus:": torch.ones(2)}
        save_file(tensors, tmp_path / "m.safetensors", {"note[/x]": "[/y] [red]z :bus:"})
        text = shown(tmp_path / "m.safetensors")
        for part in (*tensors, "note[/x]: [/y] [red]z :bus:"):
            assert part in text

    def test_a_basis_of_tasks_that_look_like_markup(self, models, run_compress, shown):
        Path("tuned/cars.safetensors").rename("tuned/[bold]cars.safetensors")
        run_compress("base=theta0.safetensors", "finetuned=tuned", "M=1", "basis=pca", "out=b")
        text = shown("b")
        assert "│ tasks │ [bold]cars, dtd, mnist, svhn │" in text
        assert "0 [bold]cars" in text

    def test_a_foreign_basis(self, shared_fixtures, shown):
        run = next((shared_fixtures / "authors_code_new" / "checkpoints").glob("*/_basis_runs/PCA*"))
        text = shown(run)
        for part in ("basis pca, M = 4 of T = 8", "loss │ unknown", "5 vectors of 17,425 elements"):
            assert part in text

    @pytest.mark.parametrize("name", ["nowhere", "notes.txt", "empty"])
    def test_anything_else_is_one_clear_error(self, tmp_path, name):
        (tmp_path / "notes.txt").write_text("hello")
        (tmp_path / "empty").mkdir()
        with pytest.raises(TaskbasisError, match=name):
            show([str(tmp_path / name)])


class TestConvert:
    def test_a_tree_is_converted_into_the_same_folders(self, tmp_path, lineage_tree):
        assert convert([str(lineage_tree), str(tmp_path / "out"), "--select", "visual."]) == 0
        assert sorted(load_file(tmp_path / "out/CarsVal/finetuned.safetensors")) == ["visual.w"]
        record = json.loads((tmp_path / "out/conversion.json").read_text())
        assert [entry["source"] for entry in record["converted"]] == ["CarsVal/finetuned.pt", "zeroshot.pt"]
        assert all(len(entry["sha256"]) == 64 for entry in record["converted"])

    def test_a_refused_file_is_named_and_the_others_are_converted(self, tmp_path, lineage_tree, capsys):
        torch.save({"w": torch.tensor([float("nan")])}, lineage_tree / "broken.pt")
        assert convert([str(lineage_tree), str(tmp_path / "out")]) == 1
        assert "'w' has a value that is not finite" in " ".join(capsys.readouterr().out.split())
        assert (tmp_path / "out/zeroshot.safetensors").is_file()
        assert not (tmp_path / "out/broken.safetensors").exists()

    def test_a_single_file_filled_from_the_base(self, tmp_path):
        save_file({"visual.w": torch.ones(2), "visual.proj": torch.ones(3)}, tmp_path / "theta0.safetensors")
        torch.save({"model.visual.w": torch.zeros(2)}, tmp_path / "a.pt")
        base, target = str(tmp_path / "theta0.safetensors"), str(tmp_path / "a.safetensors")
        assert convert([str(tmp_path / "a.pt"), target, "--fill", base]) == 0
        tensors = load_file(target)
        assert torch.equal(tensors["visual.proj"], torch.ones(3))
        assert torch.equal(tensors["visual.w"], torch.zeros(2))

    @pytest.mark.parametrize("to", ["open_clip", "hf"])
    def test_heads_are_kept_as_they_are(self, tmp_path, lineage, to):
        save_file({"visual.proj": torch.ones(3)}, tmp_path / "theta0.safetensors")
        options = ["--fill", str(tmp_path / "theta0.safetensors"), "--select", "visual.", "--to", to]
        (tmp_path / "out").mkdir()
        weight = torch.randn(4, 3)
        source = lineage(lambda src: src.ClassificationHead(weight), "head_Cars.pt")
        # The second time it is read from safetensors, which only say in their metadata what they are.
        for name in ("once", "twice"):
            target = tmp_path / "out" / f"{name}.safetensors"
            assert convert([str(source), str(target), *options]) == 0
            assert load_file(target).keys() == {"weight", "bias"}
            assert torch.equal(load_file(target)["weight"], weight)
            source = target

    def test_pickles_that_would_become_one_file_are_refused(self, tmp_path, lineage_tree, capsys):
        for ending in (".pth", ".bin"):
            torch.save({"model.visual.w": torch.zeros(2)}, lineage_tree / f"zeroshot{ending}")
        assert convert([str(lineage_tree), str(tmp_path / "out")]) == 1
        printed = "".join(capsys.readouterr().out.split())
        for ending in (".pt", ".pth", ".bin"):
            assert f"zeroshot{ending}" in printed
        assert "wouldbecomeonefile,zeroshot.safetensors" in printed
        assert not (tmp_path / "out/zeroshot.safetensors").exists()
        record = json.loads((tmp_path / "out/conversion.json").read_text())
        assert [entry["source"] for entry in record["converted"]] == ["CarsVal/finetuned.pt"]
        assert record["refused"] == 3

    def test_names_of_files_are_printed_as_they_are(self, tmp_path, lineage_tree, capsys):
        (lineage_tree / "zeroshot.pt").rename(lineage_tree / "zero[bold]shot[ ].pt")
        (lineage_tree / "CarsVal" / "finetuned.pt").rename(lineage_tree / "CarsVal" / "x].pt")
        (lineage_tree / "CarsVal").rename(lineage_tree / "Cars[")
        assert convert([str(lineage_tree), str(tmp_path / "out")]) == 0
        assert "converted: Cars[/x].pt\nconverted: zero[bold]shot[ ].pt\n" in capsys.readouterr().out

    def test_the_source_is_never_overwritten(self, tmp_path):
        save_file({"visual.w": torch.ones(2)}, tmp_path / "a.safetensors")
        with pytest.raises(ImporterError, match="is the source itself"):
            convert([str(tmp_path / "a.safetensors"), str(tmp_path / "a.safetensors")])

    def test_a_folder_without_anything_to_convert(self, tmp_path):
        (tmp_path / "photos").mkdir()
        with pytest.raises(ImporterError, match=r"holds no pickle \(\.pt, \.pth, \.bin\) and no basis"):
            convert([str(tmp_path / "photos"), str(tmp_path / "out")])

    def test_a_basis_never_replaces_something_else(self, tmp_path, shared_fixtures):
        run = next((shared_fixtures / "authors_code_new" / "checkpoints").glob("*/_basis_runs/PCA*"))
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").write_text("years of work")
        with pytest.raises(ConfigError, match="is not a basis"):
            convert([str(run), str(tmp_path / "mine")])

    @pytest.mark.parametrize("damage", ["method_info.json", "basis_vectors.pt", "pca_components.pt"])
    def test_a_damaged_basis_folder_is_named(self, tmp_path, shared_fixtures, damage):
        run = next((shared_fixtures / "authors_code_new" / "checkpoints").glob("*/_basis_runs/PCA*"))
        (tmp_path / "run").mkdir()
        for file in run.iterdir():
            (tmp_path / "run" / file.name).write_bytes(b"?" if file.name == damage else file.read_bytes())
        with pytest.raises(ImporterError, match=damage):
            convert([str(tmp_path / "run"), str(tmp_path / "out")])
        assert not (tmp_path / "out").exists()


@pytest.fixture
def lineage_tree(tmp_path):
    """Two state dicts in the folders of the lineage."""
    tree = tmp_path / "ViT"
    (tree / "CarsVal").mkdir(parents=True)
    for place in ("zeroshot.pt", "CarsVal/finetuned.pt"):
        torch.save({"model.visual.w": torch.ones(2), "model.text.w": torch.ones(2)}, tree / place)
    return tree
