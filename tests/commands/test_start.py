"""What commands import before they do anything: most of the seconds of a small job."""

import gc
import signal
import subprocess
import sys

import pytest

from taskbasis.command import heavy_imports

SLOW = ("lightning", "open_clip", "torchvision", "transformers", "scipy", "sklearn", "matplotlib", "wandb")


@pytest.mark.e2e
@pytest.mark.parametrize(("basis", "needed"), [("pca", set()), ("ae", {"scipy"})])
def test_compressing_and_merging_load_torch_and_no_other_large_library(models, basis, needed):
    program = """
import sys
from taskbasis import compress, merge
from taskbasis.config import compose_entry, register_schema
register_schema("compress_schema", compress.CompressConfig)
given = ["base=theta0.safetensors", "finetuned=tuned"]
compress.run(compose_entry("compress", [*given, f"basis={sys.argv[1]}", "M=2", "out=b"]))
merge.run(compose_entry("merge", [*given, "out=merged.safetensors"]))
print("loaded:", *sorted({name.split(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, basis], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split("loaded:")[1].split()
    assert "torch" in loaded
    assert not (set(SLOW) - needed) & set(loaded)


@pytest.mark.e2e
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_says_so_by_its_exit_code_alone(asked):
    program = """
import time
from taskbasis.command import run_plain

def main(arguments):
    print("started", flush=True)
    time.sleep(60)
    return 0

run_plain(main)
"""
    running = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs tests in the background makes its children deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stdout.readline() == "started\n"
    running.send_signal(asked)
    _, errors = running.communicate(timeout=30)
    assert (running.returncode, errors) == (130, "")


def test_garbage_is_collected_again_when_imports_are_done_or_fail():
    with heavy_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), heavy_imports():
        raise ImportError("broken")
    assert gc.isenabled()
