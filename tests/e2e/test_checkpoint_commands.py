"""The commands for people with checkpoints, in processes of their own."""

import pytest
import torch
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("module", ["taskbasis.compress", "taskbasis.merge"])
def test_help_has_examples_and_leaves_nothing(command, tmp_path, module):
    done = command("--help", cwd=tmp_path, module=module)
    assert done.returncode == 0
    assert f"python -m {module} " in done.stdout
    assert "alpha" in done.stdout or "basis=ae" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_command_is_one_clear_line(command, tmp_path):
    done = command("base=a", "finetuned=b", "out=c", "depth=3", cwd=tmp_path, module="taskbasis.compress")
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert line.startswith("error: ")
    assert "depth" in line
    assert list(tmp_path.iterdir()) == []


def test_compress_then_merge_as_a_user_types_them(command, tmp_path):
    base = {"w": torch.randn(30, 4), "b": torch.randn(7)}
    save_file(base, tmp_path / "theta0.safetensors")
    for name in "abc":
        tuned = {key: value + 0.1 * torch.randn_like(value) for key, value in base.items()}
        save_file(tuned, tmp_path / f"{name}.safetensors")
    finetuned = "finetuned={" + ", ".join(f"task_{n}: {n}.safetensors" for n in "abc") + "}"
    done = command(
        "base=theta0.safetensors", finetuned, "basis=ae", "M=2", "out=bases/ae",
        cwd=tmp_path, module="taskbasis.compress",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "basis ae, M = 2 of T = 3" in done.stdout
    done = command(
        "from=bases/ae", "coefficients={task_a: 1, task_b: -0.5}", "out=merged.safetensors",
        cwd=tmp_path, module="taskbasis.merge",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert load_file(tmp_path / "merged.safetensors").keys() == base.keys()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "theta0.safetensors",
        *(f"{n}.safetensors" for n in "abc"),
        "bases",
        "merged.safetensors",
    }
