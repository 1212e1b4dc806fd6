"""The weight-space engine against its physical floor, in-memory baselines and mergekit.

    python benchmarks/engine.py --folder DIR [--size vit-b-32] [--tasks 20] [--mergekit PYTHON]

Makes checkpoints in DIR (kept), then runs every step in a process of its own, several rounds of all
steps, files in the page cache. Of each step: the least wall seconds of its work without imports, and the
largest anonymous memory of its process, imports included. Ratios are within this one run. ``--mergekit``
names the python of an environment with mergekit 0.1.5; without it that comparison is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from baselines import dense, import_optimiser, loops
from checkpoints import SIZES, make_checkpoints, numel
from filelock import FileLock, Timeout
from processes import observe, processor
from safetensors.torch import load_file

from taskbasis import basis as methods
from taskbasis.checkpoints import Inputs
from taskbasis.compress import compress
from taskbasis.store.hashing import Algorithm, hash_files
from taskbasis.store.store import versions
from taskbasis.vectors import VectorSet
from taskbasis.vectors.files import TensorFile

ALPHA = 0.3
SAMPLED = re.compile(r"resblocks\.0\.|^visual\.(?!transformer)")
MERGEKIT = "from mergekit.scripts.merge_raw_pytorch import main; main()"


@dataclass(frozen=True)
class Job:
    """The checkpoints of one run."""

    base: Path
    finetuned: Mapping[str, Path]
    M: int
    out: Path

    @property
    def vectors(self) -> VectorSet:
        """Their task vectors, opened anew."""
        return VectorSet.task_vectors(self.base, self.finetuned)


def floor(job: Job) -> None:
    """Read every file once and subtract, with all processors: what any Gram matrix has to do."""
    files = [TensorFile(path) for path in (job.base, *job.finetuned.values())]
    pieces = [(name, start) for name, s in files[0].layout.items() for start in range(0, s.numel(), 1 << 18)]

    def subtract(piece: tuple[str, int]) -> None:
        name, start = piece
        stop = min(start + (1 << 18), files[0].layout[name].numel())
        origin = files[0].elements(name, start, stop)
        out = torch.empty_like(origin)
        for file in files[1:]:
            torch.sub(file.elements(name, start, stop), origin, out=out)

    torch.set_num_threads(1)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(subtract, pieces))


def hashes(algorithm: Algorithm) -> Callable[[Job], None]:
    """A step that hashes the content of all files."""

    def step(job: Job) -> None:
        hash_files([job.base, *job.finetuned.values()], algorithm)

    return step


def gram(job: Job) -> None:
    """The Gram matrix."""
    job.vectors.gram()


def gram_and(algorithm: Algorithm) -> Callable[[Job], None]:
    """A step that does both at once, as ``compress`` does."""

    def step(job: Job) -> None:
        with ThreadPoolExecutor(1) as beside:
            hashed = beside.submit(hashes(algorithm), job)
            gram(job)
            hashed.result()

    return step


def atoms(job: Job) -> None:
    """Write M vectors of float32."""
    C = torch.rand(len(job.finetuned), job.M, dtype=torch.float64)
    job.vectors.combine(C).save(job.out)


def merged_model(job: Job) -> None:
    """Write θ₀ + α·Σ τ_t."""
    one = job.vectors.combine(torch.ones(len(job.finetuned)), ["merged"])
    one.save_models({"merged": job.out / "merged.safetensors"}, job.base, ALPHA)


def compress_with(method: str, hash: Algorithm | None = "xxh3_128") -> Callable[[Job], None]:
    """A step that writes a whole basis folder."""

    def step(job: Job) -> None:
        inputs = Inputs(base=job.base, finetuned=job.finetuned, hash=hash)
        compress(inputs, getattr(methods, method)(M=job.M), job.out / "basis")

    return step


def in_memory(way: Callable[[Path, Mapping[str, Path], int, Path], None]) -> Callable[[Job], None]:
    """A step that is a baseline."""
    return lambda job: way(job.base, job.finetuned, job.M, job.out)


STEPS: dict[str, Callable[[Job], None]] = {
    "floor": floor,
    "hash": hashes("xxh3_128"),
    "sha256": hashes("sha256"),
    "gram": gram,
    "gram and hash": gram_and("xxh3_128"),
    "gram and sha256": gram_and("sha256"),
    "atoms": atoms,
    "merged model": merged_model,
    **{
        f"compress {name}": compress_with(name)
        for name in ("Autoencoder", "Exact", "PCA", "RandomSample", "RandomOrthonormal")
    },
    "compress Autoencoder, hash=sha256": compress_with("Autoencoder", "sha256"),
    "compress Autoencoder, hash=null": compress_with("Autoencoder", None),
    "in memory, loops": in_memory(loops),
    "in memory, dense": in_memory(dense),
}


def work(options: argparse.Namespace) -> None:
    """One step in this process; prints its seconds."""
    if options.step.startswith("in memory"):
        import_optimiser()
    start, cpu = time.perf_counter(), time.process_time()
    STEPS[options.step](job_of(options))
    seconds = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    print(json.dumps(seconds))


def job_of(options: argparse.Namespace) -> Job:
    """The job that the options describe; the checkpoints are there."""
    base, finetuned = make_checkpoints(options.folder, options.size, options.tasks)
    out = options.folder / "out"
    out.mkdir(exist_ok=True)
    return Job(base, finetuned, max(options.tasks // 2, 1), out)


def warm(job: Job, *, pickles: bool = False) -> None:
    """Bring the files into the page cache."""
    buffer = bytearray(1 << 22)
    for path in (job.base, *job.finetuned.values()):
        with (path.with_suffix(".pt") if pickles else path).open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def clean(job: Job) -> None:
    """Remove what a step wrote."""
    shutil.rmtree(job.out, ignore_errors=True)
    job.out.mkdir()


def make_pickles(job: Job) -> None:
    """The same weights as ``torch.save`` keeps them, for the way that unpickles."""
    for path in (job.base, *job.finetuned.values()):
        if not path.with_suffix(".pt").is_file():
            torch.save(load_file(path), path.with_suffix(".pt"))


def merge_command(job: Job) -> dict[str, Any]:
    """Our command for task arithmetic, from its start to its end."""
    path = job.out / "finetuned.yaml"
    path.write_text(json.dumps({name: str(file.resolve()) for name, file in job.finetuned.items()}))
    settings = {"base": job.base, "finetuned": path, "alpha": ALPHA, "out": job.out / "merged.safetensors"}
    words = [f"{key}={value}" for key, value in settings.items()]
    return observe([sys.executable, "-m", "taskbasis.merge", *words])


def mergekit(job: Job, python: str) -> dict[str, Any]:
    """mergekit's task arithmetic on the same files, from its start to its end."""
    models = [{"model": str(path), "parameters": {"weight": 1.0}} for path in job.finetuned.values()]
    config = {
        "merge_method": "task_arithmetic",
        "base_model": str(job.base),
        "dtype": "float32",
        "parameters": {"lambda": ALPHA, "normalize": False},
        "models": models,
    }
    path = job.out / "config.yml"
    path.write_text(json.dumps(config))
    return observe([python, "-c", MERGEKIT, str(path), str(job.out / "mergekit"), "--quiet"])


def deviations(job: Job, made: Path) -> float:
    """Largest relative Frobenius distance, over samples of every tensor, of a merged model from float64."""
    theta0, tuned = TensorFile(job.base), [TensorFile(path) for path in job.finetuned.values()]
    found, worst = TensorFile(made), 0.0
    for name in theta0.layout:
        origin = sample(theta0, name)
        expected = sum((sample(file, name) - origin for file in tuned), torch.zeros_like(origin))
        expected = expected.mul_(ALPHA).add_(origin)
        worst = max(worst, float((sample(found, name) - expected).norm() / expected.norm()))
    return worst


def deviations_of_vectors(job: Job) -> dict[str, float]:
    """The same for written atoms and reconstructions of the optimal convex basis and of PCA.

    Of the tensors that :data:`SAMPLED` finds alone: the rest would take minutes and show nothing else.
    """
    worst: dict[str, float] = {}
    vectors = VectorSet.task_vectors(job.base, job.finetuned, select=SAMPLED)
    gram = vectors.gram()
    theta0, tuned = TensorFile(job.base), [TensorFile(path) for path in job.finetuned.values()]
    for method in (methods.Exact(M=job.M), methods.PCA(M=job.M)):
        basis = method.fit(gram)
        made = {"atoms": basis.encoder, "reconstructed": basis.reconstruction_coefficients()[:, :1]}
        for kind, C in made.items():
            clean(job)
            files = [TensorFile(path) for path in vectors.combine(C).save(job.out).values()]
            for name in vectors.layout:
                columns = torch.stack([sample(file, name) - sample(theta0, name) for file in tuned])
                expected = C.T @ columns
                found = torch.stack([sample(file, name) for file in files])
                distance = (found - expected).norm(dim=1) / expected.norm(dim=1)
                key = f"{kind} {basis.method}"
                worst[key] = max(worst.get(key, 0.0), float(distance.max()))
    return worst


def sample(file: TensorFile, name: str) -> torch.Tensor:
    """Up to 16 stretches of 4096 elements, evenly over a tensor, in float64."""
    numel = file.layout[name].numel()
    starts = range(0, numel, max(-(-numel // 16), 4096))
    return torch.cat([file.elements(name, s, min(s + 4096, numel)) for s in starts]).double()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All steps in all rounds: the best of each."""
    job = job_of(options)
    steps = [name for name in STEPS if not options.only or name in options.only]
    if "in memory, loops" in steps:
        make_pickles(job)
    best: dict[str, dict[str, Any]] = {}
    distances: dict[str, float] = {}
    for turn in range(options.rounds):
        for name in steps:
            warm(job, pickles=name == "in memory, loops")
            clean(job)
            arguments = [sys.executable, __file__, "--step", name, "--folder", str(options.folder)]
            found = observe([*arguments, "--size", options.size, "--tasks", str(options.tasks)])
            keep(best, name, found)
            print(f"round {turn} {name:28s} {found}", flush=True)
        for name, command, made in whole_commands(job, options.mergekit):
            warm(job)
            clean(job)
            found = command()
            keep(best, name, found)
            print(f"round {turn} {name:28s} {found}", flush=True)
            if turn == options.rounds - 1 and "failed" not in found:
                distances[name] = deviations(job, made)
    distances |= deviations_of_vectors(job)
    clean(job)
    return best | {"deviations": distances}


def whole_commands(job: Job, python: str | None) -> Iterator[tuple[str, Callable[[], dict[str, Any]], Path]]:
    """Task arithmetic by commands, ours and mergekit's: names, what runs them, and what they make."""
    yield "taskbasis.merge", lambda: merge_command(job), job.out / "merged.safetensors"
    if python:
        yield "mergekit", lambda: mergekit(job, python), job.out / "mergekit" / "model.safetensors"


def keep(best: dict[str, dict[str, Any]], name: str, found: dict[str, Any]) -> None:
    """The least seconds and the largest memory so far."""
    old = best.setdefault(name, found)
    for key, value in found.items():
        if isinstance(value, float):
            best[name][key] = (max if key == "anonymous GiB" else min)(old.get(key, value), value)


def main() -> None:
    """Measure and write, or carry out one step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", choices=list(SIZES), default="vit-b-32")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mergekit", metavar="PYTHON")
    parser.add_argument("--only", nargs="*", choices=list(STEPS), help="these steps alone")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.step:
        work(options)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    try:
        with FileLock(options.folder / ".lock", timeout=0):
            steps = measure(options)
    except Timeout:
        parser.error(f"another run measures in {options.folder}; wait for it or choose another --folder")
    result = {
        "size": options.size,
        "numel": numel(options.size),
        "tasks": options.tasks,
        "rounds": options.rounds,
        "hardware": {"processors": os.cpu_count(), "processor": processor(), "load": load},
        "versions": versions() | {"kernel": platform.release().split("-")[0]},
        "steps": steps,
    }
    out = options.out or Path(f"benchmarks/results/engine-{options.size}-T{options.tasks}.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {out}")


if __name__ == "__main__":
    main()
