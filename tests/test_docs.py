"""The documentation is run: code blocks executed, commands composed or carried out in their smoke form."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from taskbasis.builders import GROUPS_WITH_TARGETS, target_errors
from taskbasis.config import compose

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands(program):
    """Every command line of the documentation that runs ``python -m <program>``."""
    found = []
    for page in PAGES:
        text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
        for line in text.splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                if program in words:
                    found.append((page.name, words[words.index(program) + 1 :]))
    return found


RUNS = commands("taskbasis.run")


def test_the_documentation_shows_the_main_command():
    assert ("README.md", ["basis=ae", "M=4", "scenario=14"]) in RUNS


@pytest.mark.parametrize(("page", "arguments"), RUNS, ids=lambda v: " ".join(v) if isinstance(v, list) else v)
def test_commands_of_the_documentation_compose_and_the_mini_ones_run(page, arguments, run_small):
    if "--config-dir" in arguments or "--help" in arguments:
        pytest.skip("carried out in a process of its own")
    overrides = [a for a in arguments if "=" in a]
    first = [re.sub(r"=([^,\[\]{}]+),.*", r"=\1", o) for o in overrides]
    job = compose(first)
    for group in GROUPS_WITH_TARGETS:
        assert target_errors(group, job.config[group]) == []
    if job.choices["suite"] == "mini":
        kept = [o for o in first if not o.startswith(("+smoke", "scenario", "tracker", "trainer", "paths"))]
        assert run_small(*kept)["run"]["status"] == "completed"


def test_commands_that_look_at_runs_are_carried_out(run_small, tmp_path, monkeypatch):
    """Everything but serving and uploading, which end only when they are told to."""
    for basis in ("basis=exact", "basis=random_sample"):
        run_small(basis, "M=1", runs=tmp_path / "outputs" / "runs")
    monkeypatch.chdir(tmp_path)
    carried_out = 0
    for program in ("taskbasis.table", "taskbasis.dashboard", "taskbasis.sync"):
        main = importlib.import_module(
            program if program != "taskbasis.dashboard" else f"{program}.__main__"
        ).main
        for page, arguments in commands(program):
            if program == "taskbasis.dashboard" and "--out" not in arguments:
                continue
            assert main(arguments) == 0, (page, program, arguments)
            carried_out += 1
            if "--out" in arguments:
                assert Path(arguments[arguments.index("--out") + 1]).stat().st_size
    assert carried_out >= 5


def test_the_example_of_bases_on_disk_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    for name in ("theta0", "a", "b"):
        save_file({"w": torch.randn(40, 3, generator=generator)}, f"{name}.safetensors")
    (code,) = blocks(ROOT / "docs" / "bases.md", "python")
    (example,) = blocks(ROOT / "README.md", "python")
    exec(example, {})
    assert Path("merged/combined.safetensors").is_file()
    scope = {}
    exec(code, scope)
    merged = scope["merged"].tensors()["w"]
    vectors = [load_file(f"{n}.safetensors")["w"] - load_file("theta0.safetensors")["w"] for n in "ab"]
    row_sums = scope["again"].addition_coefficients()
    expected = sum(c * v for c, v in zip(row_sums.float(), vectors, strict=True))
    torch.testing.assert_close(merged, expected, rtol=2e-2, atol=1e-2)


@pytest.mark.e2e
def test_the_k_means_example_runs_as_written(tmp_path, command):
    page = ROOT / "docs" / "add-a-basis.md"
    (code,), (config,) = blocks(page, "python"), blocks(page, "yaml")
    (tmp_path / "kmeans.py").write_text(code)
    (tmp_path / "conf" / "basis").mkdir(parents=True)
    (tmp_path / "conf" / "basis" / "kmeans.yaml").write_text(config)
    assert len(code.splitlines()) + len(config.splitlines()) <= 45
    (arguments,) = [words for name, words in RUNS if name == page.name]
    path = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = command(*arguments, "+smoke=true", "tracker=none", cwd=tmp_path, environment=path)
    assert done.returncode == 0, done.stderr
    assert "basis kmeans, M = 1 of T = 2" in " ".join(done.stdout.split())


def test_commands_on_checkpoints_are_those_of_their_page_which_are_carried_out():
    for program in ("taskbasis.compress", "taskbasis.merge"):
        pages = {
            page: [words for p, words in commands(program) if p == page] for page, _ in commands(program)
        }
        assert pages["README.md"]
        assert all(words in pages["checkpoints.md"] for words in pages["README.md"])


def test_ci_compares_runs_as_readme_says():
    script = (ROOT / ".ci" / "run").read_text()
    for line in ("taskbasis.table --pivot M", "taskbasis.dashboard --out report.html"):
        assert f"python -m {line}\n" in (ROOT / "README.md").read_text()
        assert f"python -m {line}\n" in script


def test_scripts_that_the_documentation_names_exist():
    for page in PAGES:
        for path in re.findall(
            r"\b((?:benchmarks|docs|tests|taskbasis|conf|experiments)/[\w./-]+\w)", page.read_text()
        ):
            assert (ROOT / path).exists() or "NAME" in path or path.endswith("kmeans.yaml"), (
                f"{page.name}: {path}"
            )


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_ci_runs_what_readme_promises():
    script = (ROOT / ".ci" / "run").read_text()
    first, second = blocks(ROOT / "README.md", "bash")[:2]
    assert second.strip() in script
    assert first.strip().rsplit("&&", 1)[-1].strip() in script


def test_commands_on_data_machines_and_exports_are_understood():
    """Every such command of the documentation has arguments that exist; what it does is tested elsewhere."""
    from taskbasis.data.__main__ import _parser

    found = commands("taskbasis.data")
    assert found
    for page, arguments in found:
        _, settings = _parser().parse_known_args(arguments)
        assert all("=" in word and not word.startswith("-") for word in settings), (page, arguments)
        if settings:
            compose(["suite=vision", "model=vit_b_32", *settings])
    assert commands("taskbasis.doctor")
    for page, arguments in commands("taskbasis.doctor") + commands("taskbasis.export"):
        known = ("--model", "--scenario", "--root", "--store", "--zeroshot", "--to")
        assert all(w in known for w in arguments if w.startswith("--")), (page, arguments)
