"""``python -m taskbasis.doctor``: whether this machine has what the paper's experiment needs."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from taskbasis.command import parse_with_settings, run_plain
from taskbasis.config import Composed, compose

if TYPE_CHECKING:
    from taskbasis.builders import Plan

EPILOG = """examples:
  python -m taskbasis.doctor
  python -m taskbasis.doctor --model vit_b_32 --scenario 14 --root data
  python -m taskbasis.doctor --model vit_b_32 --scenario 8 --root data --zeroshot trainer=gpu

--zeroshot scores the pretrained model on the test images that are there, beside published accuracies.
Words with = are settings, as for python -m taskbasis.run.
"""
_PACKAGES = ("torch", "torchvision", "open_clip_torch", "lightning", "hydra-core", "safetensors", "wandb")
_EXTRAS = {"datasets": "vision", "h5py": "vision", "transformers": "hf"}
_GB = 1e9


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 1 if something that is needed is missing or deviates."""
    parser = argparse.ArgumentParser(
        prog="python -m taskbasis.doctor",
        description="Look at the environment, the disk, the data and the zero-shot accuracies.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="vit_b_32", help="(%(default)s)")
    parser.add_argument("--scenario", default="8", help="how many tasks of the suite (%(default)s)")
    parser.add_argument("--root", default="outputs/data", help="folder of all data (%(default)s)")
    parser.add_argument("--store", default="outputs/store", help="folder of the store (%(default)s)")
    parser.add_argument("--zeroshot", action="store_true", help="score the pretrained model")
    options, overrides = parse_with_settings(parser, arguments)
    places = [f"paths.data={options.root}", f"paths.store={options.store}"]
    job = compose(
        ["suite=vision", f"model={options.model}", f"scenario={options.scenario}", *places, *overrides]
    )
    console = Console()
    console.print(environment())
    ready = examine(job, console)
    agrees = compare_zeroshot(job, console, ready) if options.zeroshot else True
    return 0 if ready and agrees else 1


def environment() -> Table:
    """Versions, devices and extras, and how W&B will behave."""
    import torch

    table = Table("what", "found", title="environment")
    table.add_row("python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    for name in _PACKAGES:
        table.add_row(name, metadata.version(name))
    for name, extra in _EXTRAS.items():
        found = metadata.version(name) if importlib.util.find_spec(name) else f"absent; extra [{extra}]"
        table.add_row(name, found)
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    described = ", ".join(f"{gpu.name} ({gpu.total_memory / _GB:.0f} GB)" for gpu in gpus)
    table.add_row("GPU", described or "none: fine-tuning real models would take days")
    table.add_row("W&B", _wandb())
    return table


def examine(job: Composed, console: Console) -> list[str]:
    """Print what is there of the model and of every dataset; the names of the tasks that are there.

    Raises:
        TaskbasisError: if the configuration is refused.
    """
    from taskbasis.builders import build_suite
    from taskbasis.data.vision import VisionSuite
    from taskbasis.data.vision.prepare import Need, existing

    suite, tasks = build_suite(job)
    assert isinstance(suite, VisionSuite)
    table = Table("dataset", "found", "to fetch and unpack", "pixels", title="data")
    ready, needs = [], []
    for name in [*(task.name for task in tasks), suite.control.name]:
        kinds = [kind for kind, reader in suite.readers(name).items() if reader.missing() is None]
        need = Need.estimated(suite, name, fetched=bool(kinds))
        needs.append(need)
        ready += [name] if kinds else []
        table.add_row(name, kinds[0] if kinds else "–", f"{need.data_gb:.1f} GB", f"{need.pixels_gb:.1f} GB")
    console.print(table)
    for place, wanted in (
        (Path(suite.root), sum(need.data_gb for need in needs)),
        (Path(job.config.paths.store), sum(need.pixels_gb for need in needs)),
    ):
        free = shutil.disk_usage(existing(place)).free / _GB
        enough = "" if free > wanted else " — not enough"
        console.print(f"disk of {place}: {wanted:.0f} GB needed, {free:.0f} GB free{enough}")
    if len(ready) < len(needs):
        console.print("missing datasets: python -m taskbasis.data prepare --suite vision (docs/vision.md)")
    return ready


def compare_zeroshot(job: Composed, console: Console, ready: Sequence[str]) -> bool:
    """Score the pretrained model on the test images that are there; whether all agree with the field.

    Raises:
        TaskbasisError: if the weights or the images cannot be read.
    """
    from taskbasis.builders import build_plan
    from taskbasis.data.vision.expected import deviations, likely_cause, published_zeroshot

    plan = build_plan(job)
    found = zeroshot(plan, [name for name in ready if name in [task.name for task in plan.tasks]])
    known, apart = published_zeroshot(plan.clip.name), deviations(plan.clip.name, found)
    table = Table(
        "task", "top-1", "published", "likely cause of a deviation", title=f"zero-shot {plan.clip.name}"
    )
    for task, value in found.items():
        cause = likely_cause(plan.clip.name, task, found) if task in apart else ""
        table.add_row(task, f"{value:.1f}", f"{known[task]:.1f}" if task in known else "–", cause)
    console.print(table)
    return not apart


def zeroshot(plan: Plan, names: Sequence[str]) -> dict[str, float]:
    """Top-1 in percent on the test images of each task."""
    from taskbasis.evaluation.scoring import Bench, Scoring, Weights
    from taskbasis.models.stages import ENCODER, pretrained_and_heads
    from taskbasis.parallel import workers

    if not names:
        return {}
    tasks = [task for task in plan.tasks if task.name in names]
    theta0, heads = pretrained_and_heads(plan.store, plan.clip, tasks)
    pixels = {task.name: {"test": plan.suite.pixels(plan.store, task.name, "test")} for task in tasks}
    bench, weights = Bench(theta0, heads, pixels), Weights.of(theta0, ENCODER)
    requests = [
        bench.request("zero-shot", task.name, task=task.name, split="test", weights=weights) for task in tasks
    ]
    scoring = Scoring(plan.store, plan.clip, plan.batch_size, plan.compute)
    with workers(plan.compute.workers, plan.compute.threads, lambda event: None) as pool:
        counts = scoring.scores(requests, pool)
    return {task.name: 100 * float(count.top1) for task, (count,) in zip(tasks, counts, strict=True)}


def _wandb() -> str:
    from taskbasis.tracking.wandb_mirror import has_key

    if mode := os.environ.get("WANDB_MODE"):
        return f"WANDB_MODE={mode}"
    return "online: a key is there" if has_key() else "offline: no key; wandb login, or tracker=none"


if __name__ == "__main__":
    run_plain(main)
